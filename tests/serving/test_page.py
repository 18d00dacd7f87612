"""The page of the service in a real browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import IN_BROWSER, check_state
from tests.serving.conftest import Service, make_image

pytestmark = IN_BROWSER
expect.set_options(timeout=20_000)  # the machine may be busy


@pytest.fixture
def page(service: Service, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1100, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(service.address)
    yield page
    context.close()
    assert not [each for each in complaints if "400" not in each]
    assert all(each.startswith((service.address, "blob:", "data:")) for each in asked)


def test_an_image_is_answered_and_explained(page: Page, service: Service, tmp_path: Path) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(make_image(200, 300, "RGB", seed=2))
    page.set_input_files("#file", image)
    best = service.get("/predict", image.read_bytes())[0]["classes"][0]
    expect(page.locator("#answer h2")).to_have_text(best)
    expect(page.locator("#answer li")).to_have_count(5)
    plain = page.locator("#shown").evaluate("canvas => canvas.toDataURL()")
    page.get_by_label("show what the answer depends on").check()
    page.wait_for_timeout(500)
    expect(page.locator("#answer li")).to_have_count(5)
    assert page.locator("#shown").evaluate("canvas => canvas.toDataURL()") != plain
    page.get_by_label("model").select_option("animals")
    expect(page.locator("#answer .muted")).to_contain_text("animals")
    for width in (390, 1100):
        page.set_viewport_size({"width": width, "height": 800})
        check_state(page)


def test_what_is_no_image_is_said(page: Page, tmp_path: Path) -> None:
    text = tmp_path / "<img src=x onerror=alert(1)>.png"
    text.write_bytes(b"text")
    page.set_input_files("#file", text)
    expect(page.locator("#answer .failure")).to_contain_text("not an image")


def test_the_list_of_addresses_can_be_read(page: Page) -> None:
    page.get_by_role("link", name="Addresses for programs").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Addresses of the service")
    for width in (390, 1100):
        page.set_viewport_size({"width": width, "height": 800})
        check_state(page)
