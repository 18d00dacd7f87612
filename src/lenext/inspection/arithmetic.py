"""Convolution arithmetic step by step: the output size, and which pixels each output value is made from."""

from dataclasses import dataclass

from lenext.foundation.arithmetic import output_size
from lenext.foundation.errors import ConfigurationError


@dataclass(frozen=True)
class Arithmetic:
    """A convolution or pooling along one side: sizes in pixels."""

    size: int
    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def __post_init__(self) -> None:
        for name, least in (("size", 1), ("kernel", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name}={getattr(self, name)}: it must be at least {least}")
        if self.output < 1:
            raise ConfigurationError(
                f"a kernel of {self.kernel}{f' with dilation {self.dilation}' if self.dilation > 1 else ''} spans "
                f"{self.span} pixels, but {self.size} + 2 x {self.padding} = {self.size + 2 * self.padding} are there; "
                f"padding={-(-(self.span - self.size) // 2)} would do"
            )

    @property
    def span(self) -> int:
        """How many pixels the kernel reaches over: dilation (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def output(self) -> int:
        """The output size; 0 or less where the kernel does not fit."""
        return output_size(self.size, self.kernel, self.stride, self.padding, self.dilation)

    @property
    def unused(self) -> int:
        """Pixels at the far end, padding included, that no step of the kernel touches."""
        return self.size + 2 * self.padding - ((self.output - 1) * self.stride + self.span)

    def touched(self, place: int) -> tuple[int, ...]:
        """The pixels that output value `place` is made from; below 0 and from `size` on they are padding."""
        start = place * self.stride - self.padding
        return tuple(start + step * self.dilation for step in range(self.kernel))

    def formula(self) -> str:
        """The formula with its numbers."""
        return (
            f"floor(({self.size} + 2 x {self.padding} - {self.dilation} x ({self.kernel} - 1) - 1) / {self.stride} + 1)"
            f" = {self.output}"
        )

    def image(self, steps: int = 4, width: int = 72) -> str:
        """In characters, the pixels of one side and what the first and the last step of the kernel touch.

        `.` a pixel, `o` padding, `#` a pixel and `0` padding that the kernel touches.
        """
        places = sorted({*range(min(steps, self.output)), self.output - 1})
        whole = self.size + 2 * self.padding
        if whole > width:
            return f"(more than {width} pixels a side: no image)"
        rows = []
        for place in places:
            touched = set(self.touched(place))
            cells = []
            for pixel in range(-self.padding, self.size + self.padding):
                inside = 0 <= pixel < self.size
                cells.append(("#" if inside else "0") if pixel in touched else ("." if inside else "o"))
            rows.append(f"output {place:>3}  {''.join(cells)}")
            if place == steps - 1 and place < self.output - 2:
                rows.append("       ...")
        return "\n".join(rows)
