"""Text on a terminal, and processes whose streams are full or closed."""

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lenext.foundation.streams import interrupts_in_callbacks, printable
from lenext.foundation.terminal import SafeConsole
from lenext.reporting.tables import build_table

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@given(st.text())
def test_printable_text_has_no_controls_and_keeps_the_rest(text: str) -> None:
    assert not CONTROL.search(printable(text))
    if not CONTROL.search(text) and text.isprintable():
        assert printable(text) == text


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_console_prints_names_as_text(name: str) -> None:
    for content in (f"[bold]{name}[/bold]", build_table(name, {name: "left", "n": "right"}, [[name, "1"]])):
        console = SafeConsole(file=(sink := io.StringIO()), width=200)
        console.print(content)
        assert not CONTROL.search(sink.getvalue())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "arguments", ["--help", "", "train --help", "list recipes", "list what", "arithmetic --in 5 --kernel 3"]
)
@pytest.mark.parametrize(
    "redirection", [">/dev/full", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2>/dev/full", ">/dev/full 2>/dev/full"]
)
def test_streams_that_are_full_or_closed_end_in_one_line(arguments: str, redirection: str) -> None:
    command = f"{sys.executable} -m lenext {arguments} {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 2)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    if redirection == ">/dev/full" and "what" not in arguments:
        assert done.returncode == 2
        assert re.fullmatch(r"lenext: cannot write to standard output: .+\n", done.stderr)


def test_an_interrupt_within_a_destructor_is_heeded(capsys: pytest.CaptureFixture[str]) -> None:
    class Interrupted:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def work() -> None:
        Interrupted()
        for _ in range(300):  # a single sleep of 30 seconds would not be interrupted
            time.sleep(0.1)

    with pytest.raises(KeyboardInterrupt), interrupts_in_callbacks():
        work()
    assert capsys.readouterr().err == ""
