"""Photograph the explorer, light and dark, for the README and the guide.

Usage: `python docs/images/explorer.py`; it needs Chromium.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMMANDS = ("lenext train lenet --data digits --epochs 5", "lenext explore runs/lenet-digits")
SCHEMES = {"dark": 0, "light": 1}  # Chromium's numbers


def main() -> None:
    """Train, write the page, and photograph it with a layer open."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            subprocess.run(command.split(), cwd=folder, capture_output=True, check=True)
        page = Path(folder, "runs/lenet-digits/explorer.html")
        for name, number in SCHEMES.items():
            subprocess.run(
                [
                    browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1500,900",
                    f"--blink-settings=preferredColorScheme={number}", "--virtual-time-budget=8000",
                    f"--screenshot={HERE / f'explorer-{name}.png'}", f"{page.as_uri()}#conv1",
                ],
                check=True, capture_output=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
