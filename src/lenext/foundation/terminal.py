"""The console that prints tables, bars and lines."""

import errno
import os
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from lenext.foundation.streams import UNPRINTABLE, printable


class SafeConsole(Console):
    """Rich's console without markup and with control characters escaped; in a notebook it writes to its file, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"highlight": False, "markup": False, "force_jupyter": False} | options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable; Rich's own cursor movements are controls, not text."""
        for segment in super().render(renderable, options):
            clean = segment.control or not UNPRINTABLE.search(segment.text)
            yield segment if clean else Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raise BrokenPipeError where Rich exits: a training continues without a reader."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
