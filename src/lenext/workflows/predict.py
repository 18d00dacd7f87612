"""`predict`: the most probable classes of the user's images."""

from pathlib import Path

from torch import nn

from lenext.foundation.device import Compute
from lenext.foundation.errors import ConfigurationError, DataError
from lenext.foundation.settings import OnBadImage
from lenext.runs.folder import Run
from lenext.runs.predict import Prediction, find_images, predict_images
from lenext.workflows.open_weights import StoredWeights, open_published, open_weights


def predict(
    model: str | Path | Run,
    *images: str | Path,
    top: int = 1,
    weights: StoredWeights | None = None,
    network: nn.Module | str = "",
    pretrained: bool = False,
    on_bad_image: OnBadImage = "stop",
    device: str = "auto",
    precision: str = "auto",
    data_dir: str | Path | None = None,
    offline: bool = False,
) -> list[Prediction | DataError]:
    """Return the most probable classes of images.

    Args:
        model: A run, its folder, a file of weights, or, with `pretrained`, the name of a network.
        images: Files, folders or globs.
        top: The number of classes per image.
        weights: Which of a run's weights; None for the best.
        network: The user's own network, when the weights are of one.
        pretrained: Whether the published weights of a network are used.
        on_bad_image: `stop`, or `skip`: an image that cannot be read then has its DataError in the list.
        device: Where to compute.
        precision: Of the arithmetic.
        data_dir: Where published weights are kept.
        offline: Whether the network must not be used.

    Raises:
        DataError: An image cannot be read.
        LenextError: The weights cannot be opened.
    """
    if top < 1:
        raise ConfigurationError(f"top={top}: it must be at least 1")
    if pretrained:
        for option, value in (("weights", weights), ("network", network)):
            if value:
                raise ConfigurationError(f"{option}={value}: {model} with --pretrained has one network; leave it out")
        module, description = open_published(str(model), data_dir, offline)
    else:
        module, description = open_weights(model, weights, network)
    paths, compute = find_images(images), Compute.choose(device, precision)
    return list(
        predict_images(
            module, description.preprocessing, description.classes, paths,
            top=top, compute=compute, on_bad_image=on_bad_image,
        )
    )  # fmt: skip
