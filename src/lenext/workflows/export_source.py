"""The source of an export: a run, a file of weights, a published network or a module, with images to verify it with."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lenext.data.dataset import Split
from lenext.data.image_files import ImageFiles
from lenext.data.preprocessing import Preprocessing
from lenext.exporting.formats import SUFFIXES, Format
from lenext.foundation.errors import ConfigurationError, DataError, LenextError, RunError
from lenext.foundation.files import expand_path
from lenext.runs.folder import Run
from lenext.runs.predict import find_images
from lenext.runs.weights import Description
from lenext.workflows.context import Context
from lenext.workflows.open_weights import StoredWeights, open_published, open_weights
from lenext.workflows.opened_run import OpenedRun


@dataclass(frozen=True)
class Source:
    """A network to export.

    Attributes:
        network: In evaluation mode, fp32, on the CPU.
        description: Its classes and preprocessing.
        opened: The run that it is of, with its data; None for weights, a published network or a module.
        name: Of the files.
        split: Images to verify with; None without any.
        images: What these are, in words.
        is_best: Whether the weights are a run's best, those that its results are of.
    """

    network: nn.Module
    description: Description
    opened: OpenedRun | None
    name: str
    split: Split | None
    images: str
    is_best: bool

    @property
    def run(self) -> Run | None:
        """The run's folder."""
        return self.opened.run if self.opened else None


def open_source(
    model: str | Path | Run | nn.Module,
    weights: StoredWeights | None,
    network: nn.Module | str,
    pretrained: bool,
    classes: Sequence[str],
    preprocessing: Preprocessing | None,
    verify_with: str,
    unverified: bool,
    context: Context,
) -> Source:
    """Open what is exported, and the images to verify it with."""
    opened: OpenedRun | None = None
    if isinstance(model, nn.Module):
        for option, value in (("weights", weights), ("network", network), ("pretrained", pretrained)):
            if value:
                raise ConfigurationError(f"{option}={value}: the module has its own weights; leave it out")
        module, description = copy.deepcopy(model), describe_module(model, classes, preprocessing)
        name = type(model).__name__.lower()
    elif classes or preprocessing is not None:
        raise ConfigurationError("export: classes and preprocessing are for a module; weights bring their own")
    elif pretrained:
        for option, value in (("weights", weights), ("network", network)):
            if value:
                raise ConfigurationError(f"{option}={value}: {model} with --pretrained has one network; leave it out")
        module, description = open_published(str(model), context.data_dir, context.offline)
        name = str(model)
    else:
        user_network = copy.deepcopy(network) if isinstance(network, nn.Module) else network
        module, description = open_weights(model, weights, user_network)
        folder = (model.path if isinstance(model, Run) else expand_path(model)).resolve()
        if folder.is_dir():
            opened = OpenedRun(Run(folder), copy.deepcopy(user_network), context)
        name = folder.name if opened else folder.stem
    split, images = (None, "") if unverified else open_images(opened, description.preprocessing, verify_with)
    is_best = opened is not None and weights != "last"
    return Source(module.cpu().float().eval(), description, opened, name, split, images, is_best)


def describe_module(model: nn.Module, classes: Sequence[str], prepare: Preprocessing | None) -> Description:
    """Return the description of a module, checked. Raises ConfigurationError where it does not fit the module."""
    if prepare is None or len(classes) < 2:
        raise ConfigurationError("export: a module needs classes=[...] and preprocessing=Preprocessing(...)")
    description = Description("", {}, tuple(classes), prepare)
    try:
        Description.from_json(description.to_json())
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"export: classes or preprocessing are invalid: {error}") from error
    with torch.inference_mode():
        module = copy.deepcopy(model).cpu().float().eval()
        try:
            shape = tuple(module(torch.zeros(1, *prepare.input_shape)).shape)
        except Exception as error:  # a user-defined network may raise anything
            reason = " ".join(str(error).split())
            raise ConfigurationError(
                f"export: the module fails on an image of {prepare.input_shape}: {reason}"
            ) from error
    if prepare.channels not in (1, 3) or shape != (1, len(classes)):
        raise ConfigurationError(
            f"export: for an image the module gives {shape}, not a logit for {len(classes)} classes"
        )
    return description


def open_images(opened: OpenedRun | None, prepare: Preprocessing, folder: str) -> tuple[Split, str]:
    """Return images to verify with, and what they are in words."""
    if folder:
        paths = find_images([folder])
        files = ImageFiles(paths, prepare.channels, prepare.stored_size, prepare.stored_fit)
        split = Split(files, torch.zeros(len(paths), dtype=torch.int64), np.asarray(paths))
        return split, f"{len(paths):,} images given with --verify-with"
    if opened is None:
        raise DataError("export: no images to verify with; give --verify-with FOLDER, or --unverified")
    try:
        data = opened.data
    except LenextError as error:
        raise DataError(f"export: no images to verify with ({error}); --verify-with FOLDER, or --unverified") from error
    if data.validation is not None:
        return data.validation, "the validation images"
    return data.train, "the training images"


def choose_path(model: object, source: Source, out: str, format: Format, name: str) -> Path:
    """Return the path of the file."""
    suffix = SUFFIXES[format]
    if out:
        path = expand_path(out)
        if path.suffix.lower() != suffix or path.name.startswith("."):
            raise ConfigurationError(f"out={out}: a file of the format {format} ends in {suffix}")
        return path
    if source.run:
        return own_exports(source.run) / f"{name}{suffix}"
    folder = expand_path(model).parent if isinstance(model, str | Path) and expand_path(model).is_file() else Path()
    return folder / f"{name}{suffix}"


def own_exports(run: Run) -> Path:
    """Return the folder of a run's exports. Raises RunError where it leads elsewhere."""
    folder = run.path / "exports"
    for link in (folder, *folder.glob("*")):
        if link.is_symlink():
            raise RunError(f"{link}: a link, but a run writes only into its own folder; remove it, or give --out")
    return folder


def choose_repository(source: Source, out: str, name: str) -> Path:
    """Return the folder of a model repository. Raises ConfigurationError where it is a file."""
    folder = expand_path(out) if out else (own_exports(source.run) if source.run else Path()) / name
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"out={out}: a file; a model repository is a folder")
    return folder
