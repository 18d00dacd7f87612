"""The notebook that Colab opens is the first tutorial, and runs."""

import importlib.util
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "first-run.ipynb"


def test_it_is_the_tutorial() -> None:
    spec = importlib.util.spec_from_file_location("docs_notebook", ROOT / "docs" / "notebook.py")
    assert spec is not None
    assert spec.loader is not None
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert nbformat.read(NOTEBOOK, as_version=4) == maker.make_notebook(), "run python docs/notebook.py"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the kernel's client
def test_it_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.cells[0].source == "%pip install --quiet lenext"
    del notebook.cells[0]  # tests/packaging installs the wheel
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs" / "lenet-digits" / "report.html").exists()
