"""The paths of a run's weights, and of the files beside weights and exported files. No torch here."""

from pathlib import Path

from lenext.foundation.errors import RunError
from lenext.foundation.files import expand_path

FEATURES = "features.safetensors"
"""The features of training images, beside a run's best weights."""
SELF_TEST_SUFFIX = ".selftest.safetensors"
EXPORTED_SUFFIXES = (".onnx", ".xml", ".pt2")


def find_run_folder(run: str | Path) -> Path:
    """Return the folder of an existing run. Raises RunError if there is none."""
    folder = expand_path(run)
    if not folder.is_dir():
        raise RunError(f"{folder}: there is no such run folder; `lenext list runs` lists the existing ones")
    if not (folder / "recipe.yaml").is_file():
        raise RunError(f"{folder}: not a run: it has no recipe.yaml; `lenext list runs` lists runs")
    return folder


def weights_file(folder: Path, kind: str = "best") -> Path:
    """Return the path of a run's best or last weights."""
    return folder / "weights" / f"{kind}.safetensors"


def is_exported(path: str | Path) -> bool:
    """Return whether a name is that of an exported file."""
    return Path(path).suffix.lower() in EXPORTED_SUFFIXES and not Path(path).is_dir()
