"""The progress of a training in a notebook: bar, curves and table of epochs below the cell, updated in place."""

import html
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from lenext.foundation.notebook import progress_html
from lenext.reporting.console import Console
from lenext.reporting.epoch_bar import EpochBar
from lenext.reporting.svg import Chart, Line
from lenext.training.metrics import Record

CHART_WIDTH, CHART_HEIGHT = 360, 190  # pixels
STYLE = """<style>
.lenext-live svg { max-width: 100%; height: auto; }
.lenext-live .grid { stroke: currentColor; opacity: .15; }
.lenext-live .tick { fill: currentColor; font: 11px sans-serif; opacity: .7; }
.lenext-live .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
.lenext-live .line.a { stroke: #888; } .lenext-live .line.b { stroke: #1f83d6; }
.lenext-live .dot { stroke: none; } .lenext-live .dot.a { fill: #888; } .lenext-live .dot.b { fill: #1f83d6; }
</style>"""


class NotebookBar(EpochBar):
    """A bar, curves and a table that one output of the cell holds; the lines of epochs go into the log alone."""

    refresh_seconds = 0.5  # each update is sent to the browser

    def __init__(self, console: Console, epochs: int, samples: int) -> None:
        super().__init__(console, epochs, samples)
        self.is_live = True
        self.status = ""
        self.handle: Any = None

    def update_bar(self, status: str) -> None:
        """Draw all of it again."""
        self.status = f"epoch {self.epoch}/{self.epochs}  {status}"
        self.draw()

    def print_record(self, line: str) -> None:
        """Draw the new epoch, and log its line."""
        self.console.log(line)
        with suppress(Exception):  # a display that fails does not end a training
            self.draw()

    def close(self) -> None:
        """Leave curves and table, without the bar."""
        if self.records:
            self.status = ""
            with suppress(Exception):
                self.draw()

    def draw(self) -> None:
        """Replace what is displayed below the cell."""
        from IPython.display import display

        bundle = {"text/plain": str(self.records), "text/html": self.draw_html()}
        if self.handle is None:
            self.handle = display(bundle, raw=True, display_id=True)  # type: ignore[no-untyped-call]
        else:
            self.handle.update(bundle, raw=True)

    def draw_html(self) -> str:
        """Return bar, curves from the second epoch on, and table."""
        done = (max(self.epoch, 1) - 1) * self.samples + self.epoch_samples
        bar = progress_html(done / (self.epochs * self.samples), self.status) if self.status else ""
        parts = (STYLE, bar, curves_html(self.records), self.records.to_html(self.best_epoch))
        return f'<div class="lenext-live">{"".join(parts)}</div>'


def curves_html(records: Sequence[Record]) -> str:
    """Return the curves of loss and accuracy, side by side; empty before the second epoch."""
    if len(records) < 2:
        return ""
    charts = []
    for metric in ("loss", "accuracy"):
        lines = []
        for part, title, css_class in (("train", "training", "a"), ("val", "validation", "b")):
            values = [getattr(record, f"{part}_{metric}") for record in records]
            if any(value is not None for value in values):
                lines.append(Line(title, [float(record.epoch) for record in records], values, css_class))
        chart = Chart(metric, lines, percent=metric == "accuracy", width=CHART_WIDTH, height=CHART_HEIGHT)
        names = "training grey" + (", validation blue" if len(lines) > 1 else "")
        charts.append(f"<div>{html.escape(metric)}: {names}<br>{chart.draw()}</div>")
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{"".join(charts)}</div>'
