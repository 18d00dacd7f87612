"""Remarks on a prediction: that it is unsure, or that the image is unlike those that the network was trained on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lenext.data.adjustment import Adjustment, is_inverted, median
from lenext.data.images import Size
from lenext.data.preprocessing import Preprocessing

UNSURE = 0.5  # probability of the most probable class
MAX_CROPPED = 0.25  # of an image
MAX_ENLARGEMENT = 2.0
MAX_DEVIATIONS = 2.0  # of the mean brightness, in standard deviations of the training pixels
MAX_OFF_CENTER, MIN_DIGIT_SIDE = 0.1, 0.5  # of the image's side
UNLIKE = "unlike the training images: its features lie farther from theirs than those of 99 % of validation images"
DIGITS = set("0123456789")


def remarks_on(
    pixels: NDArray[np.uint8],
    file_size: Size,
    probability: float,
    prepare: Preprocessing,
    classes: Sequence[str],
    adjustment: Adjustment | None,
) -> tuple[str, ...]:
    """Return what a user should know about a prediction, each with the option that helps.

    Args:
        pixels: The image as stored for the network, (C, H, W).
        file_size: (height, width) of the image in its file.
        probability: Of the most probable class.
        prepare: The preprocessing, which knows the brightness of the training images.
        classes: The names of the classes.
        adjustment: How the image was changed before; None if it was not.
    """
    remarks = []
    if probability < UNSURE:
        remarks.append(f"unsure: {probability:.0%} for the most probable class")
    brightness, deviation = prepare.brightness, sum(prepare.normalization.std) / len(prepare.normalization.std)
    image = pixels.transpose(1, 2, 0)
    mean = float(pixels.mean()) / 255
    is_digit = DIGITS.issuperset(classes)
    if is_digit and prepare.channels == 1 and is_inverted(image, brightness):
        kind = "bright" if brightness < 0.5 else "dark"
        remarks.append(f"a {kind} background, unlike the training images; --invert auto, or --digit for a drawn digit")
    elif abs(mean - brightness) > MAX_DEVIATIONS * deviation:
        remarks.append(f"its brightness is {mean:.0%}, that of the training images {brightness:.0%}")
    elif is_digit and not (adjustment and adjustment.digit) and is_off_center(image[..., 0]):
        remarks.append("the digit is small or off-centre; --digit centres and scales it")
    height, width = file_size
    ratio = width / height / (prepare.stored_size[1] / prepare.stored_size[0])
    covered = min(ratio, 1 / ratio)
    is_cropped = prepare.stored_fit == "crop" and not (adjustment and (adjustment.stretch or adjustment.digit))
    if is_cropped and 1 - covered > MAX_CROPPED:
        remarks.append(f"the crop removed {1 - covered:.0%} of the image; --fit pad keeps all of it")
    if max(prepare.stored_size) > MAX_ENLARGEMENT * max(file_size) and prepare.stored_fit == "crop":
        remarks.append(f"enlarged from {width} x {height} px; the training images had more detail")
    return tuple(remarks)


def is_off_center(pixels: NDArray[np.uint8]) -> bool:
    """Return whether the ink of an image (H, W) is small, or its middle far from the image's."""
    ink = np.abs(pixels.astype(np.float32) - median(pixels))
    strongest = ink.max()
    if strongest == 0:
        return False
    sides, inked = [], ink > strongest / 3
    for axis in (0, 1):
        used = np.flatnonzero(inked.any(1 - axis))
        middle = abs((used[0] + used[-1]) / 2 - (pixels.shape[axis] - 1) / 2) / pixels.shape[axis]
        if middle > MAX_OFF_CENTER:
            return True
        sides.append((used[-1] - used[0] + 1) / pixels.shape[axis])
    return max(sides) < MIN_DIGIT_SIDE
