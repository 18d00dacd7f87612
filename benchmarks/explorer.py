"""The explorer's pages, their size and time until the first and the next answer: python -m benchmarks.explorer.

Each network was trained for a step. Beside it torch computes the same image with one thread, in turn.
"""

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from playwright.sync_api import Page, sync_playwright

import lenext
from benchmarks.harness import report, spread
from lenext.workflows.open_weights import open_weights

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "lenet": ("fp32", {}),
    "lenet_32px": ("fp32", {}),
    "vgg11_32px at a quarter of its width": ("fp32", {"width": 0.25}),
    "googlenet_32px": ("fp24", {}),
    "convnext_32px": ("fp32", {}),
    "densenet_32px": ("fp32", {}),
    "resnet18_32px": ("int8", {}),
    "lenet by onnxruntime-web": ("fp32", {}),
    "googlenet_32px by onnxruntime-web": ("fp24", {}),
    "resnet18_32px by onnxruntime-web": ("int8", {}),
}
"""How the weights are stored, and the network's options."""
ROUNDS, ANSWERS, LOADS = 7, 5, 3
TIME = """async (count) => { const { network } = explorer.models[0], started = performance.now();
const compute = (image) => runtime ? network.compute(image) : network.run(image);
for (let k = 0; k < count; k++) await compute(network.values[0]);
return (performance.now() - started) / count; }"""


def load(page: Page, path: Path) -> float:
    """Open a page, and return the seconds until it shows an answer."""
    begun = time.perf_counter()
    page.goto(path.as_uri())
    page.locator("#verdict:not(:empty)").wait_for(timeout=120_000)
    return time.perf_counter() - begun


def torch_milliseconds(network: torch.nn.Module, image: torch.Tensor) -> float:
    with torch.inference_mode():
        begun = time.perf_counter()
        for _ in range(ANSWERS):
            network(image)
    return (time.perf_counter() - begun) / ANSWERS * 1000


def main() -> None:
    """Measure, and write the table."""
    torch.set_num_threads(1)
    rows = []
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for title, (stored_as, options) in NETWORKS.items():
            name = title.split()[0]
            runtime: Any = "ort" if "onnxruntime" in title else "own"
            path, network, image = write_page(Path(folder), name, stored_as, options, runtime)
            loads = []
            for _ in range(LOADS):
                page = browser.new_page()
                loads.append(load(page, path))
                if len(loads) < LOADS:
                    page.close()
            page.evaluate(TIME, 3)
            torch_milliseconds(network, image)
            own, other = [], []
            for _ in range(ROUNDS):
                own.append(page.evaluate(TIME, ANSWERS))
                other.append(torch_milliseconds(network, image))
            page.close()
            found, beside = spread(own), spread(other)
            rows.append(
                {
                    "network": title,
                    "parameters": sum(weights.numel() for weights in network.parameters()),
                    "weights": stored_as,
                    "page, MB": path.stat().st_size / 1e6,
                    "first answer, s": spread(loads)["median"],
                    "an answer, ms": found["median"],
                    "interquartile range": f"{found['low']:.3g} to {found['high']:.3g}",
                    "torch, one thread, ms": beside["median"],
                    "page / torch": found["median"] / beside["median"],
                }
            )
        browser.close()
    report("explorer", rows, {})


def write_page(
    folder: Path, name: str, stored_as: Any, options: dict[str, Any], runtime: Any
) -> tuple[Path, torch.nn.Module, torch.Tensor]:
    """Write the page of a network after one step of training, and return it with the network and a blank input."""
    torch.manual_seed(0)
    run = lenext.train(
        name, "digits" if name == "lenet" else write_images(folder), epochs=1, train_samples=10, options=options,
        runs_dir=folder / "runs", quiet=True, offline=True,
    )  # fmt: skip
    network, description = open_weights(run)
    blank = torch.zeros(1, *description.preprocessing.input_shape)
    return lenext.explore(run, stored_as=stored_as, runtime=runtime, quiet=True), network.eval(), blank


def write_images(folder: Path) -> Path:
    """Return a folder of a few small images of ten classes."""
    photos = folder / "photos"
    for label in range(10):
        for number in range(10):
            path = photos / f"class {label}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((32, 32), 20 * (label + 1)).convert("RGB").save(path)
    return photos


if __name__ == "__main__":
    main()
