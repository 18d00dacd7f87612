"""Confidence intervals of measured fractions."""

import math
from collections.abc import Mapping
from typing import Any

Z_95 = 1.959963984540054  # 97.5 % of a standard normal distribution lie below it


def wilson_interval(fraction: float, count: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a fraction of `count` independent samples (Wilson 1927).

    Unlike p ± 1.96 sqrt(p (1 - p) / n) it stays within 0 and 1, and is right for few samples and near both ends.

    >>> low, high = wilson_interval(0.9375, 48)  # 45 of 48
    >>> f"{low:.3f} to {high:.3f}"
    '0.832 to 0.979'
    """
    squared = Z_95**2 / count
    center = (fraction + squared / 2) / (1 + squared)
    half = Z_95 * math.sqrt(fraction * (1 - fraction) / count + squared / (4 * count)) / (1 + squared)
    return max(0.0, center - half), min(1.0, center + half)


def format_interval(fraction: float, count: int) -> str:
    """Return the 95 % interval of a fraction, as printed: `95 % interval 83.2% to 97.9%`."""
    low, high = wilson_interval(fraction, count)
    return f"95 % interval {low:.1%} to {high:.1%}"


def with_interval(about: str, metrics: Mapping[str, Any]) -> str:
    """Return a text about an accuracy in results.json with its 95 % interval, where the samples were counted."""
    samples = metrics.get("samples")
    return f"{about}; {format_interval(metrics['accuracy'], samples)}" if samples else about
