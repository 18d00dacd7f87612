"""The table of a network's layers, and its diagram, as text, HTML and SVG."""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal

from lenext.foundation.errors import ConfigurationError
from lenext.foundation.files import write_atomic
from lenext.foundation.notebook import table_html
from lenext.inspection.diagram import Drawing
from lenext.inspection.diagram_svg import to_svg
from lenext.inspection.summary import Layer, Summary
from lenext.reporting.tables import format_bytes, format_cell, table_text

Level = Literal["layer", "block", "stage"]
NUMBER_COLUMNS = ("parameters", "mult-adds", "train", "eval", "field", "stride")


SUFFIXES = (".svg", ".png", ".pdf")
"""Of a diagram's file."""


@dataclass(frozen=True, repr=False)
class LayerTable:
    """The layers of a network, one a row, and the totals below them.

    Attributes:
        summary: The figures.
        by: How far the rows are folded.
    """

    summary: Summary
    by: Level = "layer"

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, folded."""
        if self.by == "layer":
            return self.summary.layers
        return self.summary.blocks() if self.by == "block" else self.summary.stages()

    def rows(self) -> list[dict[str, Any]]:
        """Return the cells of each row by their column; layers that change nothing are left out."""
        return [
            {
                self.by: layer.name,
                "type": layer.kind,
                "output": " x ".join(map(str, layer.output_shape)),
                "parameters": layer.parameters or "",
                "mult-adds": f"at least {layer.multiply_adds:,}" if layer.uncounted else layer.multiply_adds or "",
                "train": format_bytes(layer.training_bytes),
                "eval": format_bytes(layer.evaluation_bytes),
                "field": layer.receptive_field,
                "stride": layer.stride,
            }
            for layer in self.layers
            if layer.kind != "Identity"
        ]

    def totals(self) -> str:
        """Return the lines below the table."""
        summary = self.summary
        frozen = summary.parameters - summary.trainable
        shape = " x ".join(map(str, summary.input_shape))
        convolutions, dense = summary.convolutions, summary.dense
        kinds = f"{convolutions} convolutions and {dense} dense" if dense else "all convolutions"
        uncounted = f" (not counted: {', '.join(summary.uncounted)})" if summary.uncounted else ""
        train, evaluation = format_bytes(summary.training_bytes), format_bytes(summary.evaluation_bytes)
        return (
            f"{summary.network} on an image of {shape}: "
            f"{summary.parameters:,} parameters{f' ({frozen:,} frozen)' if frozen > 0 else ''}, "
            f"{'at least ' if uncounted else ''}{summary.multiply_adds:,} multiply-adds{uncounted}\n"
            f"{convolutions + dense} weighted layers on the longest path: {kinds}\n"
            f"activations: {train} kept in training, {evaluation} at most in evaluation\n"
        )

    def __str__(self) -> str:
        rows = self.rows()
        cells = [[format_cell(value) for value in row.values()] for row in rows]
        return f"{table_text(list(rows[0]) if rows else [self.by], cells, NUMBER_COLUMNS)}\n{self.totals()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = self.rows()
        cells = [[format_cell(value) for value in row.values()] for row in rows]
        totals = "<br>".join(escape(self.totals()).splitlines())
        return f"{table_html(list(rows[0]) if rows else [self.by], cells)}<p>{totals}</p>"


@dataclass(frozen=True, repr=False)
class Diagram:
    """A diagram of networks.

    Attributes:
        drawing: Its boxes and curves.
    """

    drawing: Drawing

    @property
    def svg(self) -> str:
        """The SVG text."""
        return to_svg(self.drawing)

    def save(self, path: str | Path) -> None:
        """Write the diagram into a file: SVG, PNG or PDF by its suffix.

        Raises:
            ConfigurationError: The suffix is another.
        """
        path, suffix = Path(path), Path(path).suffix.lower()
        if suffix not in SUFFIXES:
            raise ConfigurationError(f"{path}: a diagram is written as {', '.join(SUFFIXES)}; give one of them")
        if suffix == ".svg":
            write_atomic(path, self.svg)
            return
        from lenext.reporting.figures.canvas import save_figure
        from lenext.reporting.figures.diagrams import diagram_figure

        save_figure(diagram_figure(self.drawing), path)

    def _repr_svg_(self) -> str:
        return self.svg
