"""`predict`: the most probable classes of the user's images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import nn

from lenext.data.adjustment import Adjustment, Invert, PredictFit
from lenext.data.preprocessing import Preprocessing
from lenext.exporting.engines import Engine, EngineNetwork, open_engine
from lenext.exporting.formats import open_exported
from lenext.exporting.predicting import predict_exported
from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.files import expand_path
from lenext.foundation.settings import OnBadImage, convert
from lenext.runs.familiarity import Familiarity
from lenext.runs.folder import Run
from lenext.runs.layout import is_exported
from lenext.runs.predict import Prediction, Predictor, find_images, predict_images
from lenext.workflows.open_weights import StoredWeights, open_published, open_weights, refuse_for_exported


def predict(
    model: str | Path | Run,
    *images: str | Path,
    top: int = 1,
    weights: StoredWeights | None = None,
    network: nn.Module | str = "",
    pretrained: bool = False,
    invert: Invert = "no",
    fit: PredictFit = "auto",
    digit: bool = False,
    on_bad_image: OnBadImage = "stop",
    engine: Engine | None = None,
    device: str = "auto",
    precision: str = "auto",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> list[Prediction | DataError]:
    """Return the most probable classes of images.

    Args:
        model: A run, its folder, a file of weights or an exported file, or, with `pretrained`, the name of a network.
        images: Files, folders or globs.
        top: The number of classes per image.
        weights: Which of a run's weights; None for the best.
        network: The user's own network, when the weights are of one.
        pretrained: Whether the published weights of a network are used.
        invert: Whether dark and bright are exchanged; auto: where the background is unlike the training images'.
        fit: How an image of another shape is resized: crop, pad or stretch; auto: as in training.
        digit: Whether the images are drawn digits, to be centred and scaled as MNIST's are.
        on_bad_image: `stop`, or `skip`: an image that cannot be read then has its DataError in the list.
        engine: What computes: torch, onnxruntime, openvino; auto takes the fastest by what was measured; None is
            torch, or what an exported file is made for.
        device: Where to compute.
        precision: Of the arithmetic.
        data_dir: Where published weights are kept.
        offline: Whether the network must not be used.

    Raises:
        DataError: An image cannot be read.
        LenextError: The weights cannot be opened.
    """
    convert("invert", invert, Invert)
    convert("fit", fit, PredictFit)
    if digit and (invert != "no" or fit != "auto"):
        raise ConfigurationError("digit: it sets the polarity and the fit; leave invert and fit out")
    if top < 1:
        raise ConfigurationError(f"top={top}: it must be at least 1")
    convert("engine", engine, Engine | None)
    if engine not in (None, "torch") and precision != "auto":
        raise ConfigurationError(f"precision={precision}: engine={engine} has its own; leave one of them out")
    if isinstance(model, str | Path) and is_exported(model) and not pretrained:
        options = {"weights": weights, "network": network, "device": device, "precision": precision}
        refuse_for_exported(model, options)
        session, facts, choice = open_exported(expand_path(model), engine)
        prepare = facts.description.preprocessing
        if fit in ("crop", "pad") and fit != prepare.stored_fit:
            raise ConfigurationError(f"fit={fit}: {model} does its own resizing, by {prepare.stored_fit}; leave it out")
        adjustment = make_adjustment(prepare, invert, digit, fit)
        paths = find_images(images)
        return list(predict_exported(session, facts, paths, choice, top, on_bad_image, adjustment))
    predictor = open_predictor(
        model, weights, network, pretrained=pretrained, engine=engine, many=lambda: len(find_images(images)) > 1,
        device=device, precision=precision, data_dir=data_dir, offline=offline,
    )  # fmt: skip
    paths = find_images(images)
    prepare = predictor.prepare
    if fit in ("crop", "pad"):
        predictor.prepare = replace(prepare, stored_fit=fit)
    adjustment = make_adjustment(prepare, invert, digit, fit)
    return list(predict_images(predictor, paths, top=top, on_bad_image=on_bad_image, adjustment=adjustment))


def open_predictor(
    model: str | Path | Run,
    weights: StoredWeights | None = None,
    network: nn.Module | str = "",
    *,
    pretrained: bool = False,
    engine: Engine | None = None,
    many: Callable[[], bool] = lambda: True,
    device: str = "auto",
    precision: str = "auto",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> Predictor:
    """Open trained weights for predictions.

    Args:
        model: A run, its folder, a file of weights, or, with `pretrained`, the name of a network.
        weights: Which of a run's weights; None for the best.
        network: The user's own network, when the weights are of one.
        pretrained: Whether the published weights of a network are used.
        engine: What computes; None for torch.
        many: Returns whether many images come at a time; asked once the weights are open.
        device: Where to compute.
        precision: Of the arithmetic; `fp32` holds for other engines too, which otherwise take what is fastest.
        data_dir: Where published weights are kept.
        offline: Whether the network must not be used.

    Raises:
        LenextError: The weights cannot be opened, or an option contradicts another.
    """
    if pretrained:
        for option, value in (("weights", weights), ("network", network)):
            if value:
                raise ConfigurationError(f"{option}={value}: {model} with --pretrained has one network; leave it out")
        module, description = open_published(str(model), data_dir, offline)
    else:
        module, description = open_weights(model, weights, network)
    opened = module
    prepare = description.preprocessing
    if engine not in (None, "torch"):
        module = open_engine(module, prepare, engine, many=many(), device=device, exact=precision == "fp32")
    chosen = str(module.choice) if isinstance(module, EngineNetwork) else ""
    familiarity = None if pretrained or chosen else stored_familiarity(model, weights)
    compute = Compute.choose("cpu", "fp32") if chosen else Compute.choose(device, precision)
    return Predictor(module, prepare, description.classes, compute, familiarity, chosen, opened)


def stored_familiarity(model: str | Path | Run, weights: StoredWeights | None) -> Familiarity | None:
    """Return the features of training images that a run keeps for its best weights."""
    path = model.path if isinstance(model, Run) else expand_path(model)
    if path.is_dir():
        return Familiarity.load(path / "weights") if weights != "last" else None
    return Familiarity.load(path.parent) if path.name == Run(path.parent).weights("best").name else None


def make_adjustment(prepare: Preprocessing, invert: Invert, digit: bool, fit: PredictFit) -> Adjustment | None:
    """Return the change of images that these options ask for; None for none."""
    if not digit and invert == "no" and fit != "stretch":
        return None
    height, width = prepare.stored_size
    return Adjustment(invert, digit, fit == "stretch", prepare.brightness, (width, height))
