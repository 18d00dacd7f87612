"""Keys of a recipe that say which images are trained on, and how they reach the network."""

from dataclasses import dataclass
from typing import Literal

from lenext.foundation.errors import ConfigurationError
from lenext.foundation.settings import Fraction, Method, Resize, Scaling, ShiftPadding
from lenext.training.keys import COUNT, FRACTION, PROBABILITY, SEED, Auto, Limits, key

Flip = bool | Literal["auto", "alternating"]


@dataclass(frozen=True)
class ImageKeys:
    """The size and scaling of images."""

    image_size: int | Auto = key(
        "auto",
        "Height and width, in pixels, of the images that the network gets; auto: the network's design size, or as "
        "stored.",
        Limits(1, 4096),
    )
    resize: Resize = key(
        "interpolate",
        "How images become image_size: interpolate (scale), pad (black border) or crop (cut out the centre).",
    )
    scaling: Scaling = key(
        "standardize",
        "Pixel normalization: standardize (mean and deviation of the training images), unit (0 to 1), symmetric (-1 to "
        "1) or raw (0 to 255).",
    )


@dataclass(frozen=True)
class SplitKeys:
    """The split into training, validation and test samples."""

    train_samples: int | Literal["all"] = key(
        "all", "Number of training samples to use, drawn as split says; all: every one.", Limits(2)
    )
    validation_fraction: Fraction = key(
        "auto",
        "Fraction of the training samples set aside for validation; auto: 0.1, or the validation split of the data.",
        FRACTION,
    )
    test_fraction: Fraction = key(
        "auto",
        "Fraction of the training samples set aside for testing; auto: 0.2, or the test split of the data.",
        FRACTION,
    )
    split: Method = key(
        "stratified",
        "Method of the train/validation/test split: stratified (by class), random, or ordered (the last samples are "
        "set aside).",
    )
    split_seed: int = key(0, "Random seed of the train/validation/test split; independent of seed.", SEED)
    select_on_test: bool = key(
        False,
        "Select the best epoch on the test set instead of a validation set, as the course documents do; the run "
        "reports it.",
    )

    def check_split(self) -> None:
        """Refuse keys of the split that do not fit together."""
        if self.select_on_test and self.validation_fraction not in ("auto", 0):
            raise ConfigurationError("select_on_test: the test set takes the place of validation; leave its fraction")
        if self.split == "ordered" and self.split_seed:
            raise ConfigurationError("split_seed: split=ordered draws nothing; leave one of them out")


@dataclass(frozen=True)
class SamplingKeys:
    """The samples of an epoch, and their order."""

    shuffle: bool = key(True, "Shuffle the training samples in every epoch; no: keep the order of the data.")
    balanced_sampling: bool = key(False, "Balanced sampling: draw every class equally often, with replacement.")
    hardest_fraction: float = key(
        1.0,
        "Train each epoch on this fraction of the samples: those with the largest loss when last seen; 1: all.",
        Limits(0.01, 1),
    )

    def check_sampling(self) -> None:
        """Refuse keys of sampling that do not fit together."""
        if self.balanced_sampling and self.hardest_fraction < 1:
            raise ConfigurationError("hardest_fraction: balanced_sampling draws the images already; give one of them")
        if self.balanced_sampling and not self.shuffle:
            raise ConfigurationError("balanced_sampling: it draws at random; leave out shuffle=false")


@dataclass(frozen=True)
class AugmentationKeys:
    """Changes to training images."""

    flip: Flip = key(
        "auto",
        "Horizontal flips: mirror each image with probability 0.5; alternating: in every other epoch; auto: on where a "
        "mirror image keeps its class.",
    )
    shift: int = key(0, "Random shifts: move each image by up to this many pixels in both directions; 0: off.", COUNT)
    shift_padding: ShiftPadding = key(
        "black", "Padding of shifted images: black, or reflect (mirror the image at its edge)."
    )
    random_crop: float = key(
        1.0,
        "Random resized crop: scale a random box of at least this fraction of the area to the full size; 1: off.",
        Limits(0.01, 1),
    )
    color_jitter: float = key(
        0.0,
        "Color jitter: multiply brightness, contrast and saturation by random factors from 1 - x to 1 + x; 0: off.",
        PROBABILITY,
    )
    cutout: int = key(0, "Cutout: blank one random square with sides of this many pixels in each image; 0: off.", COUNT)
    random_erasing: float = key(
        0.0, "Random erasing: probability of blanking a random box of 2 to 33 % of the area; 0: off.", PROBABILITY
    )
    mixup: float = key(
        0.0,
        "Mixup: blend pairs of images and their labels; both parameters of the Beta distribution; 0: off.",
        Limits(0, 100),
    )
    cutmix: float = key(
        0.0,
        "CutMix: paste a box of one image into another and mix their labels; parameters as for mixup, with which it "
        "alternates at random; 0: off.",
        Limits(0, 100),
    )
    feature_views: int | Auto = key(
        "auto",
        "With --freeze backbone, compute the features of this many augmented views of each image once, and train the "
        "head on them; the epochs take the views in turn; 0: augment and compute in every epoch; auto: 2, or 1 "
        "without augmentation.",
        Limits(0, 1000),
    )
    progressive_resizing: float = key(
        1.0,
        "Progressive resizing: start with this fraction of image_size and reach it after two thirds of the epochs; 1: "
        "off.",
        Limits(0.1, 1),
    )

    def check_augmentation(self) -> None:
        """Refuse keys of augmentation that do not fit together."""
        if self.shift_padding != "black" and not self.shift:
            raise ConfigurationError(
                f"shift_padding={self.shift_padding}: it pads shifted images, and there is no shift; give shift with it"
            )
