"""Photograph the studio, light and dark, with a run in training, for the README and the guide.

Usage: `python docs/images/studio.py`; it needs Chromium and playwright.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

HERE = Path(__file__).parent
TRAINED = ("lenet --epochs 12", "lenet5 --epochs 12", "lenet --epochs 12 --optimizer sgd")
EPOCHS, SHOWN = 40, 14  # of the training in the picture


def main() -> None:
    """Train a few networks, start one more in the studio, and photograph it."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        for options in TRAINED:
            subprocess.run(["lenext", "train", *options.split()], cwd=folder, capture_output=True, check=True)
        studio = subprocess.Popen(
            ["lenext", "studio", "--no-browser", "--port=0"], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        assert studio.stdout is not None
        studio.stdout.readline()
        address = studio.stdout.readline().strip()
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1500, "height": 900})
        page.goto(address)
        page.get_by_role("link", name="Train", exact=True).click()
        page.get_by_label("network", exact=True).fill("resnet18_32px")
        page.get_by_label("find an option").fill("epochs")
        page.get_by_label("epochs", exact=True).fill(str(EPOCHS))
        page.get_by_role("button", name="plan").click()
        page.get_by_role("button", name="start training").click(timeout=60_000)
        expect(page.get_by_text(re.compile(f"^{SHOWN} of {EPOCHS}"))).to_be_visible(timeout=600_000)
        for scheme in ("light", "dark"):
            page.get_by_role("button", name=scheme).click()
            page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            page.wait_for_timeout(500)
            page.screenshot(path=HERE / f"studio-{scheme}.png")
        page.get_by_role("button", name="stop", exact=True).click()
        expect(page.locator(".state.stopped")).to_be_visible(timeout=60_000)
        browser.close()
        studio.terminate()
        studio.wait()


if __name__ == "__main__":
    main()
