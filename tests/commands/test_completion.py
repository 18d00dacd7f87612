"""The completion of the shells, and the help of the verbs."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lenext.__main__ import main
from lenext.cli import SHELLS
from lenext.verbs import VERBS


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "ZDOTDIR", "BASH_COMPLETION_USER_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_every_verb(shell: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--install-completion", shell]) == 0
    where = re.search(r"completion is in (.+?);", capsys.readouterr().out)
    assert where
    path = Path(where[1])
    assert path.is_relative_to(home)
    text = path.read_text()
    assert all(verb in text for verb in VERBS)
    assert "--learning-rate" in text


@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
@pytest.mark.parametrize(("words", "expected"), [(["lenext", "tr"], "train"), (["lenext", "val", "--sp"], "--split")])
def test_bash_completes(words: list[str], expected: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--install-completion", "bash"]) == 0
    where = re.search(r"completion is in (.+?);", capsys.readouterr().out)
    assert where
    function = re.search(r"complete .*-F (\w+)", Path(where[1]).read_text())
    assert function
    script = (
        f"source {where[1]}; COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}; "
        f"{function[1]}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert expected in done.stdout.split(), done.stdout + done.stderr


def test_another_shell_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--install-completion", "tcsh"]) == 2
    assert "give one of bash, zsh, fish, powershell" in capsys.readouterr().err
    assert not list(home.iterdir())


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_examples_and_fits_80_columns(
    verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main([verb, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    text = " ".join(" ".join(lines).split())
    assert VERBS[verb].examples
    for example in VERBS[verb].examples:
        assert example in text
        assert example.startswith(f"lenext {verb}")
