"""The command line in a real terminal: narrow, dumb, without colour, or gone; and with a Windows code page."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from lenext.foundation.errors import ConfigurationError
from lenext.models.user_network import create_user_network, is_user_network

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
TRAIN = ("train", "lenet", "--epochs", "3", "--train-samples", "200")


def in_terminal(*words: str, cwd: Path, columns: int = 80, **environment: str) -> tuple[int, str]:
    """Run `lenext WORDS` in a terminal of so many columns; return the exit code and all that reached the terminal."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    inherited = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "lenext", *words],
        stdin=follower, stdout=follower, stderr=follower, cwd=cwd,
        env=inherited | {"TERM": "xterm-256color"} | environment,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    while True:
        try:
            part = os.read(leader, 65_536)
        except OSError:  # the terminal's other side is closed
            break
        if not part:
            break
        seen += part
    os.close(leader)
    return process.wait(), seen.decode()


@pytest.mark.slow
def test_a_terminal_of_40_columns(tmp_path: Path) -> None:
    long_enough = ("--epochs", "12", "--train-samples", "1000")  # for a bar, on any machine
    code, seen = in_terminal(*TRAIN[:2], *long_enough, cwd=tmp_path, columns=40)
    assert code == 0, seen
    assert "test accuracy" in seen
    rows = re.split(r"[\r\n]+", CONTROL.sub("", seen))
    bars = [row for row in rows if row.startswith("epo") and "train loss" not in row]
    assert bars
    assert max(map(len, bars)) <= 40  # a longer bar would leave a copy of itself at each update
    code, seen = in_terminal("train", "--help", cwd=tmp_path, columns=40)
    assert code == 0
    assert max(map(len, CONTROL.sub("", seen).splitlines())) <= 40


@pytest.mark.slow
def test_a_dumb_terminal_gets_plain_text(tmp_path: Path) -> None:
    code, seen = in_terminal(*TRAIN, cwd=tmp_path, TERM="dumb")
    assert code == 0, seen
    assert "\x1b" not in seen
    assert "epoch 3/3" in seen


@pytest.mark.slow
def test_no_color(tmp_path: Path) -> None:
    code, seen = in_terminal(*TRAIN, cwd=tmp_path, NO_COLOR="1")
    assert code == 0, seen
    for escape in COLOUR.findall(seen):
        numbers = {int(number or 0) for number in escape[2:-1].split(";")}
        assert numbers <= {0, 1, 2, 3, 4, 22, 23, 24}, escape  # bold and dim are no colours


@pytest.mark.slow
@pytest.mark.parametrize("words", [("list", "models"), ("summary", "densenet121"), TRAIN])
def test_a_pipe_whose_reader_has_gone(words: tuple[str, ...], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "lenext", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=120)
    assert b"Traceback" not in errors
    if words is TRAIN:  # nobody reads its lines, which is no reason to stop
        assert (tmp_path / "runs" / "lenet-digits" / "results.json").exists()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["cp437", "cp1252", "cp932"])
def test_a_code_page_of_windows(page: str, tmp_path: Path) -> None:
    for words in (("summary", "lenet"), ("list", "models"), ("predict", "--help")):
        done = subprocess.run(
            [sys.executable, "-m", "lenext", *words], capture_output=True, cwd=tmp_path, timeout=120,
            env=os.environ | {"PYTHONIOENCODING": page},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(page)


@pytest.mark.parametrize("name", [r"C:\nets\mine.py:Net", r"..\mine.py:Net", r"C:\nets\mine.py"])
def test_a_path_of_windows_names_a_users_network(name: str) -> None:
    assert is_user_network(name)
    with pytest.raises(ConfigurationError, match=re.escape(f"{name.removesuffix(':Net')}: there is no such file")):
        create_user_network(name, {}, {})
