"""Training in a notebook, executed by a real kernel."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CODE = """
import lenext
run = lenext.train("lenet", "digits", epochs=2, train_samples=60, name="loud")
"""
QUIET = """
run = lenext.train("lenet", "digits", epochs=2, train_samples=60, name="quiet", quiet=True)
"""
TABLE = """
lenext.val(run)
"""


@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the kernel's client
def test_lines_are_printed_once_and_logged(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (CODE, QUIET, TABLE)])
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    loud, quiet, measured = (
        "".join(one.get("text", "") for one in cell.outputs if one.output_type == "stream") for cell in notebook.cells
    )
    assert not any(one.output_type == "display_data" for cell in notebook.cells for one in cell.outputs)
    for line in ("epoch 1/2", "epoch 2/2", "61,706 parameters", "test accuracy"):
        assert loud.count(line) == 1, loud
    assert quiet == ""
    assert measured.count("accuracy") == 1
    for name in ("loud", "quiet"):
        log = (tmp_path / "runs" / name / "train.log").read_text()
        assert log.count("epoch 2/2") == 1
        assert "test accuracy" in log
