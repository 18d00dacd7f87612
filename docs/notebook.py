"""Write notebooks/first-run.ipynb from the tutorial: python docs/notebook.py."""

from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from myst_parser.config.main import MdParserConfig
from nbformat import NotebookNode

DOCS = Path(__file__).resolve().parent
TUTORIAL, NOTEBOOK = DOCS / "tutorials" / "first-run.md", DOCS.parent / "notebooks" / "first-run.ipynb"
SITE = "https://lenext.readthedocs.io/en/latest"


def make_notebook() -> NotebookNode:
    """Return the tutorial as a notebook that installs lenext first."""
    notebook = read_myst_markdown_notebook(TUTORIAL.read_text(encoding="utf-8"), MdParserConfig())
    for number, cell in enumerate(notebook.cells):
        cell.source = cell.source.replace("](own-", f"]({SITE}/tutorials/own-").replace(".md)", ".html)")
        cell.id = f"cell-{number}"
        cell.metadata.clear()
    install = nbformat.v4.new_code_cell("%pip install --quiet lenext", id="install", metadata={"tags": ["install"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(cells=[install, *notebook.cells], metadata={"kernelspec": kernel})


if __name__ == "__main__":
    NOTEBOOK.parent.mkdir(exist_ok=True)
    nbformat.write(make_notebook(), NOTEBOOK)
