"""Photograph a page with Chromium, for the pictures of README and docs."""

import shutil
import subprocess
from pathlib import Path

SCHEMES = {"dark": 0, "light": 1}  # Chromium's numbers


def photograph(address: str, out: Path, scheme: str, width: int, height: int) -> None:
    """Write a PNG of a page in a scheme of SCHEMES, as a window of so many pixels shows it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}",
            f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", "--allow-file-access-from-files",
            "--virtual-time-budget=8000", f"--screenshot={out}", address,
        ],
        check=True, capture_output=True,
    )  # fmt: skip
