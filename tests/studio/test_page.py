"""The studio in a real browser: a training from the form to the drawing pad, data, a review, keys alone."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Page, expect

from lenext.data.corrections import read_corrections
from lenext.runs.folder import Run
from tests.browser import IN_BROWSER, check_state
from tests.studio.conftest import TOKEN, Served
from tests.studio.test_answers import make_audit

pytestmark = IN_BROWSER
HOSTILE = "<img src=x onerror=window.hacked=1>"
WIDTHS = (390, 768, 1440)
LONG = 60_000  # milliseconds

expect.set_options(timeout=20_000)  # the machine may be busy


@dataclass
class Opened:
    """A page of the studio, with what it complained of and asked for."""

    page: Page
    address: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def go(self, place: str) -> None:
        self.page.goto(f"{self.address}/#/{place}")

    def check(self) -> None:
        """Check that it complained of nothing, and asked nobody else."""
        assert not self.errors
        assert all(each.startswith((self.address, "data:", "blob:")) for each in self.requests)


@pytest.fixture
def opened(served: Served, browser: Browser) -> Iterator[Opened]:
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    page = context.new_page()
    opened = Opened(page, served.address)
    page.on(
        "console",
        lambda message: opened.errors.append(f"{message.text} {message.location}") if message.type == "error" else None,
    )
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.goto(f"{served.address}/?token={TOKEN}")
    page.wait_for_url(f"{served.address}/")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    yield opened
    context.close()


def test_the_token_is_not_in_the_address(opened: Opened) -> None:
    expect(opened.page.get_by_role("link", name="done")).to_be_visible()
    assert TOKEN not in opened.page.url
    assert "token" not in opened.page.evaluate("document.cookie")
    opened.check()


def test_a_training_from_the_form_to_the_pad(opened: Opened, served: Served) -> None:
    page = opened.page
    opened.go("train")
    page.locator("summary", has_text="Schedule").click()
    page.get_by_label("epochs", exact=True).fill("30")
    page.get_by_label("name of the run").fill("drawn")
    page.get_by_role("button", name="plan").click()
    expect(page.get_by_role("heading", name="The plan")).to_be_visible(timeout=LONG)
    expect(page.get_by_text(" for 30 (from")).to_be_visible()
    page.get_by_role("button", name="start training").click()
    expect(page.locator(".state.training")).to_be_visible(timeout=LONG)
    expect(page.locator(".u-over").first).to_be_visible(timeout=LONG)
    expect(page.locator(".state.finished")).to_be_visible(timeout=LONG)
    expect(page.get_by_text("epoch 30").first).to_be_visible()
    expect(page.get_by_role("link", name="report", exact=True)).to_be_visible(timeout=LONG)
    box = page.locator("canvas[aria-label^='drawing pad']").bounding_box()
    assert box is not None
    x, y = box["x"], box["y"]
    page.mouse.move(x + 60, y + 50)
    page.mouse.down()
    for point in ((165, 50), (100, 190)):
        page.mouse.move(x + point[0], y + point[1], steps=6)
    page.mouse.up()
    expect(page.locator(".answers li.best")).to_contain_text("7", timeout=LONG)
    opened.check()


def test_the_table_sorts_filters_and_groups(opened: Opened) -> None:
    page = opened.page
    names = page.locator("tbody tr td:nth-child(2)")
    expect(page.get_by_role("link", name="half")).to_be_visible()
    page.get_by_label("filter").fill("lenet5")
    expect(names).to_have_text(["half"])
    page.get_by_label("filter").fill("state:finished network:lenet")
    expect(page.get_by_role("link", name="half")).to_have_count(0)
    for words, names_left in (
        ("epochs>1 run:done", ["done"]),
        ("epochs>2 run:done", []),
        ("epochs>=2 run:done", ["done"]),
    ):
        page.get_by_label("filter").fill(words)
        expect(names).to_have_text(names_left)
    page.get_by_label("filter").fill("")
    page.get_by_role("button", name="run", exact=True).click()
    ordered = names.all_inner_texts()
    assert ordered == sorted(ordered, key=str.lower)
    page.get_by_role("button", name="run ↑").click()
    expect(names.first).to_have_text(ordered[-1])
    page.get_by_label("group by").select_option("state")
    expect(page.locator("tr.group-row").first).to_be_visible()
    page.get_by_label("compare done").check()
    page.get_by_label("compare half").check()
    page.get_by_role("button", name="compare 2").click()
    expect(page.get_by_text("The comparison is written")).to_be_visible(timeout=LONG)
    opened.check()


def test_the_explorer_has_no_origin(opened: Opened, served: Served) -> None:
    """A page of a run works, but its scripts cannot reach the studio."""
    page = opened.page
    opened.go("runs/done")
    page.get_by_role("button", name=re.compile("write the explorer")).click()
    expect(page.get_by_text("The explorer is written")).to_be_visible(timeout=LONG)
    with page.expect_popup() as popup:
        page.get_by_role("link", name="explorer", exact=True).click()
    explorer = popup.value
    expect(explorer.locator("#verdict:not(:empty)")).to_be_visible(timeout=LONG)
    assert explorer.evaluate("self.origin") == "null"
    reached = explorer.evaluate(f"fetch('{served.address}/api/runs').then(() => 'reached', () => 'refused')")
    assert reached == "refused"
    opened.check()


def test_data_and_augmentation(opened: Opened) -> None:
    page = opened.page
    opened.go("data?source=digits")
    page.get_by_label("class").select_option("3")
    expect(page.locator(".image bdi").first).to_have_text("3")
    page.locator(".image").nth(4).click()
    drawn = page.locator("figure img")
    expect(drawn).to_have_count(13)
    page.get_by_text("Change the augmentation").click()
    with page.expect_response(lambda response: "cutout=10&draw=11" in response.url):
        page.get_by_label("cutout").fill("10")
    expect(drawn.last).to_have_js_property("complete", True)
    assert drawn.evaluate_all("images => images.every((each) => each.naturalWidth === 28)")
    page.get_by_label("shift", exact=True).fill("28")
    expect(page.get_by_role("alert")).to_contain_text("28 px")
    assert [each for each in opened.errors if "400" not in each] == []


def test_a_review_with_keys_alone(opened: Opened, served: Served) -> None:
    path = make_audit(served, "digits")
    page = opened.page
    opened.go(f"audits/{path.name}")
    expect(page.get_by_text("labelled <b>0</b>")).to_be_visible()
    page.keyboard.press("d")
    expect(page.get_by_role("heading", name="near duplicate")).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_text("1 keep, 0 relabel, 1 drop")).to_be_visible()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_text("labelled <b>0</b>")).to_be_visible()
    page.keyboard.press("r")
    page.keyboard.press("7")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 keep, 1 relabel, 0 drop")).to_be_visible()
    assert [(each.decision, each.label) for each in read_corrections(path / "corrections.csv")] == [
        ("keep", ""), ("relabel", "7"),
    ]  # fmt: skip
    page.get_by_role("link", name="open the form").click()
    expect(page.get_by_label("corrections of labels")).to_have_value(str(path / "corrections.csv"))
    opened.check()


def test_hostile_names_stay_text(opened: Opened, served: Served, done: Run) -> None:
    hostile = served.studio.runs_dir / HOSTILE.replace("/", "")
    hostile.mkdir()
    text = (done.path / "recipe.yaml").read_text()
    (hostile / "recipe.yaml").write_text(text)
    (hostile / "results.csv").write_bytes((done.path / "results.csv").read_bytes())
    (hostile / "split.json").write_text('{"classes": ["' + HOSTILE + '"], "samples": {"' + HOSTILE + '": 3}}')
    (hostile / "train.log").write_text(HOSTILE)
    lines = (hostile / "results.csv").read_text().splitlines()
    cells = lines[-1].split(",")
    cells[lines[0].split(",").index("val_loss")] = "nan"  # the curves have a gap
    (hostile / "results.csv").write_text("\n".join([*lines[:-1], ",".join(cells)]) + "\n")
    page = opened.page
    page.get_by_role("link", name=hostile.name).click()
    expect(page.get_by_role("heading", name=hostile.name)).to_be_visible()
    page.get_by_text("Log", exact=True).click()
    expect(page.get_by_text("validation nan")).to_be_visible()
    assert page.evaluate("window.hacked") is None
    opened.check()


def test_a_run_that_is_deleted_while_it_is_open(opened: Opened, served: Served, done: Run) -> None:
    shutil.copytree(done.path, served.studio.runs_dir / "soon-gone")
    page = opened.page
    opened.go("runs/soon-gone")
    expect(page.locator(".u-over").first).to_be_visible()
    shutil.rmtree(served.studio.runs_dir / "soon-gone")
    expect(page.get_by_text("it may have been deleted")).to_be_visible(timeout=LONG)
    assert [each for each in opened.errors if "404" not in each] == []


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("place", ["runs", "runs/done", "train", "data?source=digits", "audits", "audits/digits"])
def test_accessible_at_all_widths(opened: Opened, served: Served, colours: str, place: str) -> None:
    page = opened.page
    if place == "audits/digits":
        place = f"audits/{make_audit(served, 'digits').name}"
    page.emulate_media(color_scheme="dark" if colours == "dark" else "light", reduced_motion="reduce")
    opened.go(place)
    expect(page.locator("h1")).to_be_visible()
    expect(page.get_by_role("button").nth(2)).to_be_visible()
    page.wait_for_timeout(500)
    for summary in page.locator("summary").all():
        summary.click()
    if place == "train":
        page.get_by_label("freeze", exact=True).fill("nothing")
        page.get_by_role("button", name="plan").click()
        expect(page.get_by_role("alert")).to_be_visible(timeout=LONG)
    if place.startswith("data"):
        page.locator(".image").nth(4).click()
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        check_state(page)


def test_keyboard_alone(opened: Opened) -> None:
    page = opened.page
    expect(page.get_by_role("link", name="done")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "done":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="done")).to_be_visible()
    opened.check()
