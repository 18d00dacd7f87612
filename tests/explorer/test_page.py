"""The explorer's page in a real browser: its numbers are torch's, and everything on it works."""

import base64
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Browser, Page
from torch import nn

import lenext
from lenext.data.images import read_image
from lenext.data.preprocessing import Preprocessing
from lenext.explorer.evaluation import evaluate
from lenext.explorer.operations import Operation
from lenext.explorer.page_data import Samples, describe_preprocessing
from lenext.explorer.runtime import FOLDER, PACKAGE
from lenext.explorer.tracing import trace
from lenext.foundation.download import fetch
from lenext.foundation.errors import DownloadError
from lenext.foundation.files import cache_folder
from lenext.models.variant import IMAGENET
from lenext.runs.folder import Run
from lenext.workflows.open_weights import open_weights
from tests.browser import IN_BROWSER
from tests.conftest import draw_image

NETWORKS = ("lenet", "googlenet_32px", "convnext_32px")
NO_SAMPLES = Samples(np.empty((0, 1, 1, 1), np.uint8), np.empty(0, np.int64))
HOSTILE = "</script><img src=x onerror=window.hacked=1>"

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Short trainings on the digits, by network; LeNet's is whole."""
    folder = tmp_path_factory.mktemp("runs")
    few: dict[str, Any] = {"runs_dir": folder, "quiet": True}
    made = {"lenet": lenext.train("lenet", "digits", epochs=12, name="lenet", **few)}
    for name in NETWORKS[1:]:
        made[name] = lenext.train(name, "digits", epochs=1, train_samples=60, name=name, **few)
    return made


@dataclass
class Opened:
    """A page in the browser, with what it asked for and complained of."""

    page: Page
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Check that it asked for nothing but itself, and complained of nothing."""
        assert not self.errors
        assert len([url for url in self.requests if not url.startswith(("data:", "blob:"))]) == 1

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()


def open_page(browser: Browser, path: Path, *, wait: bool = True, script: str = "") -> Opened:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    opened = Opened(page)
    page.on("request", lambda request: opened.requests.append(request.url))
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on("console", lambda message: opened.errors.append(message.text) if message.type == "error" else None)
    if script:
        page.add_init_script(script)
    page.goto(path.as_uri())
    if wait:
        page.locator("#verdict:not(:empty)").wait_for()
    return opened


@pytest.fixture(scope="module")
def lenet_page(runs: dict[str, Run]) -> Path:
    return lenext.explore(runs["lenet"], quiet=True)


@pytest.fixture
def lenet(browser: Browser, lenet_page: Path) -> Iterator[Opened]:
    opened = open_page(browser, lenet_page)
    yield opened
    opened.check()
    opened.page.close()


@dataclass
class Reference:
    """What torch computes for an image."""

    network: nn.Module
    operations: list[Operation]
    images: torch.Tensor
    values: list[torch.Tensor]

    @classmethod
    def of(cls, run: Run, pixels: np.ndarray) -> "Reference":
        network, description = open_weights(run)
        images = description.preprocessing(torch.from_numpy(pixels)[None])
        operations = trace(network.eval(), description.preprocessing.input_shape)
        with torch.inference_mode():
            return cls(network, operations, images, [images, *evaluate(operations, images)])


def array(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.float32)


PACK = """(data) => {
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  let text = "";
  for (let k = 0; k < bytes.length; k += 8192) text += String.fromCharCode(...bytes.subarray(k, k + 8192));
  return btoa(text);
}"""


def show_pixels(page: Page, pixels: np.ndarray) -> None:
    page.evaluate(
        "async (numbers) => { explorer.setBase({ shape: explorer.blank.shape, data: Uint8ClampedArray.from(numbers) });"
        " explorer.shown = explorer.pixels(); await explorer.compute(); }",
        pixels.flatten().tolist(),
    )


def page_values(page: Page) -> list[np.ndarray]:
    return [
        array(each) for each in page.evaluate(f"() => explorer.models[0].network.values.map((v) => ({PACK})(v.data))")
    ]


@pytest.fixture(scope="session")
def runtime_folder() -> Path:
    """The folder of downloaded files with onnxruntime-web, which is fetched where it is missing."""
    folder = cache_folder()
    try:
        fetch(PACKAGE, folder / FOLDER)
    except DownloadError as error:
        pytest.skip(str(error))
    return folder


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("runtime", ["own", "ort"])
def test_every_number_is_torchs(
    runtime: Literal["own", "ort"], name: str, browser: Browser, runs: dict[str, Run], request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue("runtime_folder") if runtime == "ort" else None
    path = lenext.explore(runs[name], runtime=runtime, data_dir=folder, quiet=True)
    opened = open_page(browser, path)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    show_pixels(opened.page, pixels)
    reference = Reference.of(runs[name], pixels)
    values = page_values(opened.page)
    assert len(values) == len(reference.values)
    for own, expected in zip(values, reference.values, strict=True):
        np.testing.assert_allclose(own, expected.numpy().reshape(-1), atol=1e-4, rtol=1e-5)
    draw = np.random.default_rng(1)
    for step in draw.choice(len(reference.operations), 8, replace=False).tolist():
        at = int(draw.integers(reference.values[step + 1].numel()))
        opened.page.evaluate("([step, at]) => explorer.openLayer(explorer.models[0], step, at)", [step, at])
        check_shown(opened, reference, step, at)
    opened.check()
    opened.page.close()


@pytest.fixture
def fast_page(runs: dict[str, Run], runtime_folder: Path, tmp_path: Path) -> Path:
    """LeNet's page with onnxruntime-web."""
    out = tmp_path / "fast.html"
    return lenext.explore(runs["lenet"], runtime="ort", data_dir=runtime_folder, out=out, quiet=True)


def test_onnxruntime_takes_the_weights_and_channels_of_the_page(browser: Browser, fast_page: Path) -> None:
    """A changed weight, a channel that is switched off, and occlusion: as without it."""
    opened = open_page(browser, fast_page)
    opened.page.evaluate("() => { explorer.models[0].steps[0].weight.data[3] += 2; explorer.takeExample(1); }")
    own = "() => { const { steps, network } = explorer.models[0], own = new Network(steps); own.off = network.off;"
    own += " return own.run(network.values[0]); }"
    for change in ("() => explorer.compute()", "() => { explorer.models[0].network.off.set(3, new Set([0, 2])); }"):
        opened.page.evaluate(change)
        opened.page.evaluate("() => explorer.compute()")
        shown = opened.page.evaluate("() => explorer.models[0].network.probabilities()")
        assert shown == pytest.approx(opened.page.evaluate(own), abs=1e-5)
    opened.page.evaluate("() => explorer.restore()")
    opened.page.check("[value=occlusion]")
    is_drawn = "() => byId('heat').getContext('2d').getImageData(0, 0, 28, 28).data.some((value) => value > 0)"
    until = time.monotonic() + 30
    while not opened.page.evaluate(is_drawn):
        assert time.monotonic() < until, "no map of the occlusion"
        opened.page.wait_for_timeout(100)
    opened.check()
    opened.page.close()


def test_a_browser_without_webassembly_computes_all_the_same(
    browser: Browser, runs: dict[str, Run], fast_page: Path
) -> None:
    opened = open_page(browser, fast_page, script="delete window.WebAssembly")
    assert "it has no WebAssembly" in opened.text("#slow")
    assert opened.text("#failure") == ""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    show_pixels(opened.page, pixels)
    np.testing.assert_allclose(
        page_values(opened.page)[-1], Reference.of(runs["lenet"], pixels).values[-1][0], atol=1e-4
    )
    opened.page.close()


def check_shown(opened: Opened, reference: Reference, step: int, at: int) -> None:
    """Check the numbers in an open layer: the value, and the numbers of its inputs that made it."""
    shown = float(opened.text("#inspector output"))
    expected = float(reference.values[step + 1].reshape(-1)[at])
    assert shown == pytest.approx(expected, abs=1e-4)
    explained = opened.page.evaluate("([step, at]) => explorer.models[0].network.explain(step, at)", [step, at])
    inputs = [reference.values[each].reshape(-1) for each in reference.operations[step].inputs]
    terms = [
        (inputs[term["input"]][term["at"]].item() if term["at"] >= 0 else 0.0, term["factor"])
        for term in explained["terms"]
    ]
    if explained["rule"] == "sum":
        assert sum(value * factor for value, factor in terms) + explained["bias"] == pytest.approx(expected, abs=1e-4)
    elif explained["rule"] == "max":
        assert max(value for value, _ in terms) == pytest.approx(expected, abs=1e-4)
    elif explained["rule"] == "average":
        assert sum(value * factor for value, factor in terms) == pytest.approx(expected, abs=1e-4)
    elif explained["rule"] == "add":
        assert sum(value for value, _ in terms) == pytest.approx(expected, abs=1e-4)
    elif explained["rule"] == "norm":
        normal = (terms[0][0] - explained["mean"]) / explained["deviation"]
        assert normal * explained["weight"] + explained["bias"] == pytest.approx(expected, abs=1e-4)
    elif explained["rule"] == "moved":
        assert terms[0][0] == pytest.approx(expected, abs=1e-4)
    else:
        assert explained["rule"] in ("relu", "gelu", "multiply")


def draw_seven(page: Page) -> None:
    box = page.locator("#pad").bounding_box()
    assert box is not None
    points = [(0.28, 0.22), (0.72, 0.22), (0.6, 0.5), (0.45, 0.85)]
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=8)
    page.mouse.up()
    page.wait_for_timeout(300)


def test_a_drawn_seven_is_a_seven(lenet: Opened) -> None:
    lenet.page.click("#clear")
    draw_seven(lenet.page)
    assert lenet.text("#verdict") == "7"
    shares = lenet.page.locator("#answer .share").evaluate_all("(all) => all.map((each) => Number(each.dataset.value))")
    assert sum(shares) == pytest.approx(1)
    assert np.argmax(shares) == 7


def test_three_clicks_from_a_cell_to_a_layer(lenet: Opened) -> None:
    page = lenet.page
    page.click("[data-view=confusion]")
    page.locator("#matrix td.right button").first.click()
    page.locator("#cell-images button").first.click()
    page.locator("button.layer[data-step='0']").click()
    assert "Conv 5×5" in lenet.text("#inspector h2")  # noqa: RUF001
    assert lenet.text("#verdict") == "0, which is correct"


def test_a_link_opens_a_layer(browser: Browser, lenet_page: Path) -> None:
    for name, heading in (("conv2", "Conv 5×5, 16"), ("nothing", ""), ("%", "")):  # noqa: RUF001
        page = browser.new_page()
        page.goto(f"{lenet_page.as_uri()}#{name}")
        page.locator("#verdict:not(:empty)").wait_for()
        assert page.locator("#failure").is_hidden()
        assert page.locator("#inspector").is_visible() == bool(heading)
        if heading:
            assert page.locator("#inspector h2").inner_text() == heading
        page.close()


def test_by_keyboard_alone(lenet: Opened) -> None:
    page = lenet.page
    before = lenet.text("#verdict")
    page.keyboard.press("e")
    page.wait_for_timeout(200)
    assert lenet.text("#verdict") != before
    for key in ("ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    assert lenet.text("#inspector h2") == "ReLU"
    place = lenet.text("#inspector .explanation h3")
    for key in ("ArrowRight", "PageDown"):
        page.keyboard.press(key)
    assert lenet.text("#inspector .explanation h3") != place
    page.keyboard.press("Escape")
    assert not page.locator("#inspector").is_visible()
    for key in ("c", "d", " ", *["ArrowDown"] * 8, " "):
        page.keyboard.press(key)
    page.wait_for_timeout(200)
    assert page.evaluate("Math.max(...explorer.pixels().data)") > 200
    page.keyboard.press("p")
    assert "present" in (page.locator("html").get_attribute("class") or "")


def logits(page: Page) -> np.ndarray:
    return page_values(page)[-1]


def test_a_channel_off_and_a_changed_weight_are_what_torch_says(lenet: Opened, runs: dict[str, Run]) -> None:
    page = lenet.page
    pixels = np.random.default_rng(2).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    show_pixels(page, pixels)
    whole = logits(page)
    page.evaluate("explorer.openLayer(explorer.models[0], 0, 2 * 784 + 400)")
    page.get_by_text("switch channel 2 off").click()
    reference = Reference.of(runs["lenet"], pixels)
    with torch.inference_mode():
        network = reference.network
        weights = network.get_parameter("conv1.weight")
        kept = weights[2].clone(), network.get_parameter("conv1.bias")[2].clone()
        weights[2] = 0
        network.get_parameter("conv1.bias")[2] = 0
        np.testing.assert_allclose(logits(page), network(reference.images)[0], atol=1e-4)
        page.get_by_text("switch channel 2 on").click()
        weights[2], network.get_parameter("conv1.bias")[2] = kept
        weights[2, 0, 1, 3] = 1.5
        field = page.locator("#inspector input.number").nth(8)
        field.fill("1,5")
        field.press("Enter")
        page.wait_for_timeout(100)
        assert page.evaluate("document.activeElement.dataset.key") == "w58"
        np.testing.assert_allclose(logits(page), network(reference.images)[0], atol=1e-4)
    field.fill("no number")
    field.press("Enter")
    page.click("#undo")
    np.testing.assert_array_equal(logits(page), whole)


def test_saliency_and_occlusion(lenet: Opened, runs: dict[str, Run]) -> None:
    page = lenet.page
    pixels = np.random.default_rng(3).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    show_pixels(page, pixels)
    reference = Reference.of(runs["lenet"], pixels)
    images = reference.images.clone().requires_grad_()
    label = int(reference.values[-1].argmax())
    reference.network(images)[0, label].backward()
    own = array(page.evaluate(f"(label) => ({PACK})(explorer.models[0].network.gradient(label).data)", label))
    assert images.grad is not None
    np.testing.assert_allclose(own, images.grad.reshape(-1), atol=1e-4 * float(images.grad.abs().max()))
    page.check("[value=saliency]")
    assert "change" in lenet.text("#map-text")
    page.check("[value=occlusion]")
    page.wait_for_timeout(1500)
    painted = "Array.from(byId('heat').getContext('2d').getImageData(0, 0, 28, 28).data).some((value) => value > 0)"
    assert page.evaluate(painted)
    page.check("[value=none]")
    assert not page.locator("#heat").is_visible()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1"])
def test_images_reach_the_network_as_in_training(mode: str, lenet: Opened, tmp_path: Path) -> None:
    for size in ((28, 28), (61, 45), (20, 90), (300, 10), (640, 480)):
        draw = np.random.default_rng(sum(size))
        image = Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
        if mode == "RGBA":
            image.putalpha(Image.fromarray((255 * draw.integers(0, 2, (size[1], size[0]))).astype(np.uint8)))
        else:
            image = image.convert(mode)
        path = tmp_path / f"{size[0]}.png"
        image.save(path)
        lenet.page.set_input_files("#file", path)
        lenet.page.locator("#message", has_text=path.name).wait_for()
        own = np.array(lenet.page.evaluate("Array.from(explorer.base.data)"), np.uint8).reshape(1, 28, 28)
        np.testing.assert_array_equal(own, read_image(path, 1, (28, 28)))


def test_prepared_images_are_torchs(lenet: Opened) -> None:
    for resize, stored, size in (
        ("interpolate", (20, 28), (33, 25)),
        ("pad", (20, 24), (32, 32)),
        ("crop", (32, 30), (28, 28)),
    ):
        prepare = Preprocessing(1, stored, "crop", size, resize, IMAGENET, 3)  # type: ignore[arg-type]
        pixels = np.random.default_rng(4).integers(0, 256, (1, *stored), dtype=np.uint8)
        own = lenet.page.evaluate(
            f"([numbers, shape, settings]) =>"
            f" ({PACK})(prepared({{ shape, data: Uint8ClampedArray.from(numbers) }}, settings).data)",
            [pixels.flatten().tolist(), list(pixels.shape), describe_preprocessing(prepare, NO_SAMPLES)],
        )
        expected = prepare(torch.from_numpy(pixels)[None]).numpy().reshape(-1)
        np.testing.assert_allclose(array(own), expected, atol=2e-5)


def test_bad_images_are_refused_in_a_sentence(lenet: Opened, tmp_path: Path) -> None:
    before = lenet.page.evaluate("Array.from(explorer.base.data)")
    Image.new("1", (10_000, 10_001)).save(tmp_path / "huge.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    for name, reason in (("huge.png", "at most 64 million"), ("text.png", "cannot read"), ("empty.png", "cannot read")):
        lenet.page.set_input_files("#file", tmp_path / name)
        lenet.page.locator("#message", has_text=reason).wait_for()
        assert lenet.text("#message").startswith(name)
    assert lenet.page.evaluate("Array.from(explorer.base.data)") == before


def test_noise_and_squares_change_the_image_until_it_is_cleared(lenet: Opened) -> None:
    page = lenet.page
    plain = page.evaluate("Array.from(explorer.pixels().data)")
    page.locator("#noise").fill("40")
    noisy = page.evaluate("Array.from(explorer.pixels().data)")
    assert noisy != plain
    page.locator("#noise").fill("0")
    page.click("[data-tool=cover]")
    page.locator("#pad").click(position={"x": 140, "y": 140})
    assert page.evaluate("Array.from(explorer.pixels().data)") != plain
    page.click("#clear")
    assert set(page.evaluate("Array.from(explorer.pixels().data)")) == {0}


def test_two_epochs_side_by_side(browser: Browser, runs: dict[str, Run], tmp_path: Path) -> None:
    last = runs["lenet"].weights("last")
    path = lenext.explore(runs["lenet"], against=last, out=tmp_path / "two.html", quiet=True)
    opened = open_page(browser, path)
    assert opened.page.locator(".diagram-column").count() == 2
    assert "differs by" in opened.text("#diagram-1 button.layer[data-step='0']")
    opened.page.locator("#diagram-0 button.layer[data-step='0']").click()
    assert opened.page.locator("#inspector canvas.tiles").count() == 3
    opened.check()
    opened.page.close()


def test_a_browser_that_is_too_old_gets_a_sentence(browser: Browser, lenet_page: Path) -> None:
    opened = open_page(browser, lenet_page, wait=False, script="delete window.DecompressionStream;")
    opened.page.locator("#failure").wait_for()
    assert "too old" in opened.text("#failure")
    opened.page.close()


def test_hostile_names_stay_text(browser: Browser, tmp_path: Path) -> None:
    for label, name in enumerate((HOSTILE.replace("/", "\u2215"), "<b>b")):
        for number in range(12):
            path = tmp_path / "photos" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_image(label, (32, 32), number).save(path)
    run = lenext.train("lenet_32px", tmp_path / "photos", epochs=1, runs_dir=tmp_path / "runs", quiet=True)
    opened = open_page(browser, lenext.explore(run, quiet=True))
    assert "<b>b" in opened.page.locator("#answer").inner_text()
    assert opened.page.evaluate("window.hacked") is None
    opened.page.set_input_files("#file", next((tmp_path / "photos").rglob("*.png")))
    opened.page.wait_for_timeout(200)
    opened.check()
    opened.page.close()


def test_rounded_weights_are_those_that_python_measured(browser: Browser, runs: dict[str, Run], tmp_path: Path) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, (1, 28, 28), dtype=np.uint8)
    expected = Reference.of(runs["lenet"], pixels).values[-1].softmax(1)[0].numpy()
    differences = {}
    for stored_as in ("fp32", "fp24", "int8"):
        path = lenext.explore(runs["lenet"], out=tmp_path / f"{stored_as}.html", stored_as=stored_as, quiet=True)
        opened = open_page(browser, path)
        show_pixels(opened.page, pixels)
        own = np.array(opened.page.evaluate("explorer.models[0].network.probabilities()"))
        differences[stored_as] = float(np.abs(own - expected).max())
        assert (opened.page.locator(".notice:not([hidden])").count() > 0) == (stored_as != "fp32")
        opened.page.close()
    assert differences["fp32"] < 1e-6
    assert differences["fp24"] < 1e-4
    assert differences["int8"] < 0.1
