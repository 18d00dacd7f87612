"""Convolution arithmetic step by step: the output size, and the pixels that each output value depends on."""

import math
from dataclasses import dataclass

from lenext.foundation.arithmetic import output_size
from lenext.foundation.errors import ConfigurationError


@dataclass(frozen=True)
class Arithmetic:
    """A convolution or pooling along one side, with sizes in pixels.

    Raises ConfigurationError if a size is out of range or the kernel does not fit.
    """

    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name, minimum in (("size", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if getattr(self, name) < minimum:
                raise ConfigurationError(f"{name}={getattr(self, name)}: it must be at least {minimum}")
        if self.output < 1:
            raise ConfigurationError(
                f"a kernel of {self.kernel}{f' with dilation {self.dilation}' if self.dilation > 1 else ''} spans "
                f"{self.span} pixels, but {self.size} + 2 x {self.padding} = {self.size + 2 * self.padding} exist; "
                f"use padding={math.ceil((self.span - self.size) / 2)}"
            )

    @property
    def span(self) -> int:
        """Pixels that the kernel spans: dilation (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """Output size; 0 or less if the kernel does not fit."""
        return output_size(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def unused(self) -> int:
        """Pixels at the end, padding included, that no step of the kernel covers."""
        return self.size + 2 * self.padding - ((self.output - 1) * self.stride + self.span)

    def covered_pixels(self, position: int) -> tuple[int, ...]:
        """Return the pixels under the kernel for an output value; below 0 and from `size` on they are padding."""
        start = position * self.stride - self.padding
        return tuple(start + step * self.dilation for step in range(self.kernel))

    def formula(self) -> str:
        """Return the formula of the output size with its numbers."""
        return (
            f"floor(({self.size} + 2 x {self.padding} - {self.dilation} x ({self.kernel} - 1) - 1) / {self.stride} + 1)"
            f" = {self.output}"
        )

    def draw(self, steps: int = 4, width: int = 72) -> str:
        """Draw the pixels of one side in characters, for the first steps of the kernel and the last.

        `.` is a pixel, `o` padding, `#` a pixel and `0` padding under the kernel.
        """
        positions = sorted({*range(min(steps, self.output)), self.output - 1})
        if self.size + 2 * self.padding > width:
            return f"(more than {width} pixels a side: no drawing)"
        rows = []
        for position in positions:
            covered = set(self.covered_pixels(position))
            cells = []
            for pixel in range(-self.padding, self.size + self.padding):
                inside = 0 <= pixel < self.size
                cells.append(("#" if inside else "0") if pixel in covered else ("." if inside else "o"))
            rows.append(f"output {position:>3}  {''.join(cells)}")
            if position == steps - 1 and position < self.output - 2:
                rows.append("       ...")
        return "\n".join(rows)
