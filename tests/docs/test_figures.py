"""Figures in the README are those of the committed measurements."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_speed_of_the_readme_was_measured() -> None:
    figures = json.loads((ROOT / "benchmarks" / "results" / "training.json").read_text())["figures"]
    text = " ".join((ROOT / "README.md").read_text().split())
    found = re.search(
        r"mean: ([\d.]+) times as fast as the fastest .*? and ([\d.]+) times as fast .*?; "
        r"([\d.]+) times on D3's network, ([\d.]+) to ([\d.]+) times on the others",
        text,
    )
    assert found
    installed, experts, d3, low, high = map(float, found.groups())
    each = sorted(map(float, figures["peers by experts, each"].split(", ")))
    assert installed == round(figures["peers as installed: geometric mean of (best of them / lenext)"], 2)
    assert experts == round(figures["peers by experts: geometric mean of (best of them / lenext)"], 2)
    assert (low, high, d3) == (round(each[0], 2), round(each[-2], 2), round(each[-1], 2))
