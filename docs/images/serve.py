"""Photograph the page of the service, light and dark, with a photograph and what its answer depends on, for the guide.

Usage: `python docs/images/serve.py RUN PHOTOGRAPH`; it needs Chromium and playwright.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

HERE = Path(__file__).parent


def main() -> None:
    """Serve a run, ask about the photograph, and photograph the page."""
    run, photograph = sys.argv[1:]
    service = subprocess.Popen(["lenext", "serve", run, "--port=0"], stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    address = next(match[0] for line in service.stdout if (match := re.search(r"http://\S+", line)))
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scheme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 1040, "height": 720}, color_scheme=scheme)  # type: ignore[arg-type]
            page = context.new_page()
            page.goto(address)
            page.get_by_label("show what the answer depends on").check()
            page.set_input_files("#file", photograph)
            expect(page.locator("#answer li")).to_have_count(5)
            page.wait_for_timeout(500)
            page.screenshot(path=HERE / f"serve-{scheme}.png")
        browser.close()
    service.terminate()
    service.wait()


if __name__ == "__main__":
    main()
