"""Draw the README's picture, light and dark: a training in a terminal beside the page that it leaves.

Usage: `python docs/images/front.py`; it needs Chromium.
"""

import html
import subprocess
import tempfile
from pathlib import Path

from photograph import SCHEMES, photograph

HERE = Path(__file__).parent
COMMAND = "lenext train lenet --data digits --epochs 10"
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
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(COMMAND.split(), cwd=folder, capture_output=True, text=True, check=True)
        for scheme in SCHEMES:
            page = Path(folder, f"{scheme}.html")
            report = "runs/lenet-digits/report.html"
            page.write_text(PAGE.format(*COLORS[scheme], html.escape(COMMAND), html.escape(done.stdout), report))
            photograph(page.as_uri(), HERE / f"front-{scheme}.png", scheme, 1600, 848)


if __name__ == "__main__":
    main()
