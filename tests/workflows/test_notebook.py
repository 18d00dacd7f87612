"""Training in a notebook, executed by a real kernel."""

import re
import time
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.manager import KernelManager, start_new_kernel
from nbclient import NotebookClient

import lenext

CODE = """
import lenext
run = lenext.train("lenet", "digits", epochs=3, train_samples=60, name="loud")
"""
QUIET = """
run = lenext.train("lenet", "digits", epochs=2, train_samples=60, name="quiet", quiet=True)
"""
TABLE = """
lenext.val(run)
"""
SHOWN = """
run.records
"""
LONG = """
import lenext
run = lenext.train("lenet", "digits", epochs=2000, train_samples=60, name="stopped")
"""

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")  # of the kernel's client


def outputs_of(cell: Any, kind: str) -> list[Any]:
    return [one for one in cell.outputs if one.output_type == kind]


def stream_of(cell: Any) -> str:
    return "".join(one.text for one in outputs_of(cell, "stream"))


def test_a_training_is_one_display_and_a_log(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(code) for code in (CODE, QUIET, TABLE, SHOWN)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    loud, quiet, measured, shown = notebook.cells

    text = stream_of(loud)
    for line in ("61,706 parameters", "test accuracy"):
        assert text.count(line) == 1, text
    assert "epoch 1/3" not in text  # it is in the display
    (display,) = outputs_of(loud, "display_data")
    page = display.data["text/html"]
    assert page.count("<tr>") == 4  # the header, three epochs
    assert "(best)" in page
    assert page.count("<svg") == 2
    assert "<progress" not in page  # at the end

    assert stream_of(quiet) == ""
    assert not outputs_of(quiet, "display_data")
    assert stream_of(measured).count("accuracy") == 1
    (table,) = outputs_of(shown, "execute_result")
    assert table.data["text/html"].count("<tr>") == 3
    for name, epochs in (("loud", 3), ("quiet", 2)):
        log = (tmp_path / "runs" / name / "train.log").read_text()
        assert len(re.findall(r"^epoch \d/", log, re.MULTILINE)) == epochs
        assert "test accuracy" in log


@pytest.fixture
def kernel(tmp_path: Path) -> Any:
    manager, client = start_new_kernel(cwd=str(tmp_path))
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_an_interrupted_kernel_leaves_a_run_to_resume(kernel: tuple[KernelManager, Any], tmp_path: Path) -> None:
    manager, client = kernel
    log = tmp_path / "runs" / "stopped" / "train.log"
    message = client.execute(LONG)
    deadline = time.monotonic() + 60
    while not (log.exists() and "epoch    3/2000" in log.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    manager.interrupt_kernel()
    reply = client.get_shell_msg(timeout=60)
    assert reply["parent_header"]["msg_id"] == message
    assert reply["content"]["ename"] == "StoppedError"
    done = len(lenext.Run.open(tmp_path / "runs" / "stopped").records)
    assert 3 <= done < 2000
    assert "`lenext resume" in log.read_text()

    client.execute("2 + 2")  # the kernel lives
    assert client.get_shell_msg(timeout=30)["content"]["status"] == "ok"
