"""The display of a training: below the cell in a notebook, else on the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from lenext.foundation.notebook import in_notebook
from lenext.reporting.console import Console
from lenext.reporting.epoch_bar import EpochBar
from lenext.reporting.notebook_bar import NotebookBar


@contextmanager
def epoch_bar(console: Console, epochs: int, samples: int) -> Iterator[EpochBar]:
    """Show the progress of a training.

    Args:
        console: Where it is printed; in a notebook it is displayed below the cell.
        epochs: Epochs of the training.
        samples: Samples per epoch.
    """
    is_shown = in_notebook() and console.lines and not console.terminal.quiet
    bar = (NotebookBar if is_shown else EpochBar)(console, epochs, samples)
    try:
        yield bar
    finally:
        bar.close()
