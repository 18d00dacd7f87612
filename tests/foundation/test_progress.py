"""Long work of the command line prints lines where there is no terminal; a library call prints nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lenext.cli import run as run_command_line
from lenext.foundation import progress
from lenext.foundation.streams import plain_lines
from tests.conftest import draw_image


@pytest.fixture
def command_line() -> Iterator[None]:
    plain_lines.enabled = True
    yield
    plain_lines.enabled = False


def test_a_library_call_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.count_bar("reading", 1000) as advance:
        advance(1000)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("command_line")
def test_a_line_at_once_and_one_every_ten_seconds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = iter([0.0, *(step for second in range(1, 30) for step in (float(second),)), *[29.0] * 9])
    monkeypatch.setattr("lenext.foundation.progress.time.monotonic", lambda: next(seconds))
    with progress.count_bar("reading", 1000) as advance:
        assert capsys.readouterr().err == "reading: 1,000\n"
        for _ in range(25):
            advance(10)
    lines = capsys.readouterr().err.splitlines()
    assert 1 <= len(lines) <= 3
    assert lines[0] == "reading: 100 of 1,000"


@pytest.mark.usefixtures("command_line")
def test_few_steps_are_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.count_bar("reading", 10) as advance:
        advance(10)
    assert capsys.readouterr().err == ""


def test_the_audit_says_what_it_is_doing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label, name in enumerate(("up", "down")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            draw_image(label, (40, 40), 2 * number + label).save(tmp_path / "photos" / name / f"{number}.png")
    arguments = ["audit", str(tmp_path / "photos"), "--epochs", "1", "--out", str(tmp_path / "audit")]
    assert run_command_line(arguments) == 0
    assert "checking labels, epochs: 3\n" in capsys.readouterr().err
    assert not plain_lines.enabled
