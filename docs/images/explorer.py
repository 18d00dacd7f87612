"""Photograph the explorer, light and dark, for the README and the guide.

Usage: `python docs/images/explorer.py`; it needs Chromium.
"""

import subprocess
import tempfile
from pathlib import Path

from photograph import SCHEMES, photograph

HERE = Path(__file__).parent
COMMANDS = ("lenext train lenet --data digits --epochs 5", "lenext explore runs/lenet-digits")


def main() -> None:
    """Train, write the page, and photograph it with a layer open."""
    with tempfile.TemporaryDirectory() as folder:
        for command in COMMANDS:
            subprocess.run(command.split(), cwd=folder, capture_output=True, check=True)
        page = Path(folder, "runs/lenet-digits/explorer.html")
        for scheme in SCHEMES:
            photograph(f"{page.as_uri()}#conv1", HERE / f"explorer-{scheme}.png", scheme, 1500, 900)


if __name__ == "__main__":
    main()
