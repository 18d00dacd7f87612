"""The wheel and the sdist: what they hold, and a training by a wheel in an empty environment."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
import yaml

import lenext

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run([*map(str, words)], cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a wheel and a sdist, built from a copy of the tree."""
    folder = tmp_path_factory.mktemp("packages")
    source = folder / "source"

    def ignore(path: str, names: list[str]) -> set[str]:
        at_root = {"runs", "dist", "build"} if Path(path) == ROOT else set[str]()
        return {name for name in names if name.startswith(".") or name in at_root | {"__pycache__", "_build"}}

    shutil.copytree(ROOT, source, ignore=ignore)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source, cwd=folder)
    return folder / "dist"


@pytest.fixture(scope="module")
def metadata(packages: Path) -> Message:
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(name).decode())


def test_the_index_would_take_them(packages: Path) -> None:
    assert "FAILED" not in run(sys.executable, "-m", "twine", "check", "--strict", *packages.iterdir(), cwd=packages)


def test_the_wheel_is_the_package_and_nothing_else(packages: Path) -> None:
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = ROOT / "src" / "lenext"
    files = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {f"lenext/{path.relative_to(package).as_posix()}" for path in files}
    assert "lenext/py.typed" in names


def test_the_sdist_can_be_tested_and_documented(packages: Path) -> None:
    with tarfile.open(next(packages.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for name in ("src/lenext/__init__.py", "tests/conftest.py", "docs/conf.py", "Makefile", "CHANGELOG.md", "LICENSE"):
        assert name in names


def test_the_version_has_one_source(metadata: Message) -> None:
    assert metadata["Version"] == lenext.__version__
    assert f"## {lenext.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == lenext.__version__
    assert not re.search(r"^version *=", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)


def test_the_metadata_name_what_a_user_looks_for(metadata: Message) -> None:
    links = {url.partition(", ")[0] for url in metadata.get_all("Project-URL", [])}
    assert links == {"Homepage", "Documentation", "Changelog", "Issues"}
    assert {"tensorboard", "tune", "docs", "dev"} <= set(metadata.get_all("Provides-Extra", []))
    assert metadata["License-Expression"] == "MIT"


@pytest.mark.slow
def test_a_wheel_trains_in_an_empty_environment(packages: Path, tmp_path: Path) -> None:
    """Installed by name from a folder of wheels and the index, without the checkout, lenext trains and predicts."""
    venv.create(tmp_path / "venv", with_pip=True)
    scripts = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin")
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    constraints = ROOT / "constraints.txt"
    run(
        scripts / "python", "-m", "pip", "install", "--quiet", "--find-links", packages, "-c", constraints, "lenext",
        cwd=tmp_path, env=env,
    )  # fmt: skip
    where = run(scripts / "python", "-c", "import lenext; print(lenext.__file__)", cwd=tmp_path, env=env)
    assert Path(where.strip()).is_relative_to(tmp_path / "venv")
    run(scripts / "lenext", "train", "lenet", "--epochs", "2", cwd=tmp_path, env=env)
    page = tmp_path / "runs" / "lenet-digits" / "report.html"
    assert page.stat().st_size > 100_000
    measured = run(scripts / "lenext", "val", "runs/lenet-digits", cwd=tmp_path, env=env)
    assert "accuracy" in measured
