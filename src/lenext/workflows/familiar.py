"""The features of training images that a run keeps, so that `predict` can say that an image is unlike them."""

from lenext.data.splitting import draw_samples
from lenext.foundation.device import Compute
from lenext.inspection.features import head_features
from lenext.runs.familiarity import Familiarity
from lenext.runs.layout import FEATURES
from lenext.workflows.opened_run import OpenedRun

REFERENCE_IMAGES, HELD_OUT_IMAGES = 512, 256
MIN_IMAGES = 20  # of each; the distance of fewer says nothing


def write_familiarity(opened: OpenedRun) -> None:
    """Write the features of some training images into a run's folder of weights; of too few, nothing."""
    folder = opened.run.path / "weights"
    (folder / FEATURES).unlink(missing_ok=True)  # those of other weights
    data, (module, description) = opened.data, opened.weights
    if data.validation is None or min(len(data.train), len(data.validation)) < MIN_IMAGES:
        return
    compute = Compute.choose("cpu", "auto")
    training, validation = (
        head_features(module, draw_samples(split, number), description.preprocessing, compute)
        for split, number in ((data.train, REFERENCE_IMAGES), (data.validation, HELD_OUT_IMAGES))
    )
    Familiarity.measure(training, validation).save(folder)
