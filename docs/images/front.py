"""Draw the README's picture, light and dark: a training in a terminal beside the page that it leaves.

Usage: `python docs/images/front.py`; it needs Chromium.
"""

import html
import shutil
import subprocess
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMMAND = "lenext train lenet --data digits --epochs 10"
SCHEMES = {"dark": 0, "light": 1}  # Chromium's numbers
COLORS = {"dark": ("#0d1117", "#161b22", "#e6edf3"), "light": ("#ffffff", "#f6f8fa", "#1f2328")}
PAGE = """<!doctype html><meta charset="utf-8"><style>
body {{ margin: 0; padding: 24px; background: {0}; display: flex; gap: 24px; width: 1552px; height: 800px }}
.frame {{ border: 1px solid #8886; border-radius: 10px; overflow: hidden; flex: 1; background: {1} }}
.bar {{ height: 30px; border-bottom: 1px solid #8884; font: 13px/30px sans-serif; padding-left: 14px; color: {2} }}
pre {{ margin: 0; padding: 14px; font: 11.6px/1.45 "DejaVu Sans Mono", monospace; color: {2}; white-space: pre-wrap }}
iframe {{ border: 0; width: 1000px; height: 1050px; transform: scale(.763); transform-origin: 0 0 }}
</style>
<div class="frame"><div class="bar">Terminal</div><pre>$ {3}\n{4}</pre></div>
<div class="frame"><div class="bar">report.html</div><iframe src="{5}"></iframe></div>
"""


def main() -> None:
    """Train, write a page with both, and photograph it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(COMMAND.split(), cwd=folder, capture_output=True, text=True, check=True)
        for name, number in SCHEMES.items():
            page = Path(folder, f"{name}.html")
            report = "runs/lenet-digits/report.html"
            page.write_text(PAGE.format(*COLORS[name], html.escape(COMMAND), html.escape(done.stdout), report))
            subprocess.run(
                [
                    browser, "--headless", "--no-sandbox", "--hide-scrollbars", "--window-size=1600,848",
                    f"--blink-settings=preferredColorScheme={number}", "--allow-file-access-from-files",
                    "--virtual-time-budget=5000", f"--screenshot={HERE / f'front-{name}.png'}", page.as_uri(),
                ],
                check=True, capture_output=True,
            )  # fmt: skip


if __name__ == "__main__":
    main()
