"""Charts: names beside points can be read."""

import re
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from lenext.reporting.svg import CHARACTER_WIDTH, CHART_HEIGHT, CHART_WIDTH, LEFT, Mark, Scatter, overlap

NAMES = ("lenet_32px", "alexnet_32px", "nin_32px", "googlenet_32px", "resnet18_32px", "convnext_32px")


def named_boxes(drawn: str, names: tuple[str, ...]) -> list[tuple[float, float, float, float]]:
    """Return the boxes of the names in a chart."""
    boxes = []
    for name in names:
        match = re.search(rf'x="([\d.]+)" y="([\d.]+)" text-anchor="middle">{name}<', drawn)
        assert match, name
        x, y, half = float(match[1]), float(match[2]), CHARACTER_WIDTH * len(name) / 2
        boxes.append((x - half, y - 10, x + half, y + 3))
    return boxes


@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.5, 0.6)), min_size=len(NAMES), max_size=len(NAMES)))
@settings(deadline=None, derandomize=True)
def test_names_stay_inside_and_rarely_overlap(points: list[tuple[float, float]]) -> None:
    marks = [Mark(10**x, y, name, True) for (x, y), name in zip(points, NAMES, strict=True)]
    boxes = named_boxes(Scatter("a", marks, "seconds").draw(), NAMES)
    assert all(
        box[0] >= LEFT - 1 and box[2] <= CHART_WIDTH + 1 and box[1] >= -1 and box[3] <= CHART_HEIGHT for box in boxes
    )
    assert sum(overlap(one, other) for one, other in combinations(boxes, 2)) <= 2


def test_names_of_equal_points_do_not_overlap() -> None:
    marks = [Mark(x, 0.6, name, True) for name, x in zip(NAMES, (1, 50, 50, 50, 50, 100), strict=True)]
    boxes = named_boxes(Scatter("a", marks, "seconds").draw(), NAMES)
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
