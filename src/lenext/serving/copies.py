"""Copies of the models' files: what is served stays as it was verified, whatever happens to a run meanwhile."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from lenext.foundation.errors import RunError
from lenext.foundation.files import expand_path, make_folder
from lenext.runs.layout import FEATURES, SELF_TEST_SUFFIX, find_run_folder, is_exported, weights_file
from lenext.serving.settings import Source


def copy_model(source: Source, folder: Path) -> Source:
    """Copy the files of a model into a folder, and return the source that names the copies.

    Published weights are left where they are: they are verified each time they are opened.

    Raises:
        RunError: There is no such model, or its files cannot be copied.
    """
    if source.pretrained:
        return source
    model, *beside = model_files(source)
    make_folder(folder)
    try:
        for path in (model, *beside):
            shutil.copyfile(path, folder / path.name)
    except OSError as error:
        raise RunError(f"{error.filename or model}: cannot be copied ({error.strerror or error})") from error
    return replace(source, path=str(folder / model.name), weights=None, asked=str(model))


def model_files(source: Source) -> Iterator[Path]:
    """Yield the file of a model, then those beside it that belong to it. Raises RunError where there is none."""
    path = expand_path(source.path)
    if path.is_dir():
        path = weights_file(find_run_folder(path), source.weights or "best")
        if not path.is_file():
            raise RunError(f"{path}: there are no such weights yet; the run did not get that far")
    elif not path.is_file():
        raise RunError(f"{path}: there is no such run, weights file or exported file; `lenext list runs` lists runs")
    elif source.weights:
        raise RunError(f"weights={source.weights}: {path} is one file of weights already; leave it out")
    yield path
    if is_exported(path):
        binary, test = path.with_suffix(".bin"), path.with_name(path.name + SELF_TEST_SUFFIX)
        beside = ([binary] if path.suffix.lower() == ".xml" else []) + [test]
    else:
        beside = [path.with_name(FEATURES)] if path.stem == "best" else []
    yield from (each for each in beside if each.is_file())
