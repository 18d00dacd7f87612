"""Pages have no serious finding of axe, in a real browser, light and dark: reports, comparisons, audits, the site."""

from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser

import lenext
from tests.browser import IN_BROWSER, check_state

SITE = Path(__file__).resolve().parents[2] / "docs" / "_build" / "html"
SITE_PAGES = (
    "index", "tutorials/first-run", "guides/predicting", "reference/generated/verbs", "reference/generated/networks",
    "reference/generated/python", "reference/generated/python/networks",
)  # fmt: skip
SIZES = ((390, 844), (1440, 900))

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The pages that the verbs write, by verb."""
    folder = tmp_path_factory.mktemp("pages")
    few: dict[str, Any] = {"runs_dir": folder, "quiet": True}
    run = lenext.train("lenet", "digits", epochs=3, **few)
    race = lenext.race("lenet", "lenet5", seeds=2, epochs=1, train_samples=200, **few)
    return {"report": run.path / "report.html", "compare": race.page, "explore": lenext.explore(run, quiet=True)}


def check(browser: Browser, page_path: Path, scheme: Literal["light", "dark"], size: tuple[int, int]) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    page = context.new_page()
    errors: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_path.as_uri())
    check_state(page)
    context.close()
    assert not errors
    assert all(url.startswith(("file:", "data:")) for url in requests)


@pytest.mark.parametrize("size", [(390, 844), (768, 1024), (1280, 720), (1440, 900)], ids=str)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_explorer_at_work(
    scheme: Literal["light", "dark"], size: tuple[int, int], browser: Browser, pages: dict[str, Path]
) -> None:
    """With a layer open, in its largest type, and with the images of a cell."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": size[0], "height": size[1]})
    page.goto(f"{pages['explore'].as_uri()}#conv2")
    page.locator("#inspector output").wait_for()
    page.check("[value=saliency]")
    check_state(page)
    page.click("#present")
    check_state(page)
    page.click("[data-view=confusion]")
    page.locator("#matrix button").first.click()
    check_state(page)
    page.close()


@pytest.mark.parametrize("size", SIZES, ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("verb", ["report", "compare", "explore"])
def test_a_page_of_a_verb(
    verb: str, scheme: Literal["light", "dark"], size: tuple[int, int], browser: Browser, pages: dict[str, Path]
) -> None:
    check(browser, pages[verb], scheme, size)


@pytest.mark.skipif(not (SITE / "index.html").exists(), reason="needs `make docs`, which .ci/run runs before")
@pytest.mark.parametrize("size", SIZES, ids=["phone", "desktop"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", SITE_PAGES)
def test_a_page_of_the_site(
    name: str, scheme: Literal["light", "dark"], size: tuple[int, int], browser: Browser
) -> None:
    check(browser, SITE / f"{name}.html", scheme, size)
