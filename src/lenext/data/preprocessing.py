"""Convert stored pixels to a network's input; saved with the weights, so that prediction does the same."""

import math
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from lenext.data.dataset import Dataset
from lenext.data.images import Size
from lenext.data.resizing import VERSION as RESIZING_VERSION
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.normalization import Normalization
from lenext.foundation.settings import Fit, Resize


@dataclass(frozen=True)
class Preprocessing:
    """The steps from an image file to a network's input.

    Attributes:
        channels: Channels of the stored pixels.
        stored_size: (height, width) of the stored pixels.
        stored_fit: How a file of another size is resized to stored pixels: `crop` or `pad`.
        image_size: (height, width) of the network's input.
        resize: How stored pixels are resized to it: `interpolate`, `pad` (with black) or `crop` (the centre).
        normalization: Mean and standard deviation of each channel.
        network_channels: Channels of the network's input; grey images are repeated if it is larger than `channels`.
        resizing: Version of the definition of resizing.
    """

    channels: int
    stored_size: Size
    stored_fit: Fit
    image_size: Size
    resize: Resize
    normalization: Normalization
    network_channels: int = 0
    resizing: int = RESIZING_VERSION

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of the network's input."""
        return self.network_channels or self.channels, *self.image_size

    @property
    def brightness(self) -> float:
        """Mean of the training images' pixels, 0 to 1."""
        return sum(self.normalization.mean) / len(self.normalization.mean)

    @classmethod
    def from_dataset(cls, data: Dataset, image_size: int | str, resize: Resize, scaling: str) -> "Preprocessing":
        """Build the preprocessing of a dataset, which must be split: its normalization is of the training images."""
        channels, height, width = data.shape
        size = (height, width) if isinstance(image_size, str) else (image_size, image_size)
        if resize == "pad" and (size[0] < height or size[1] < width):
            raise ConfigurationError(
                f"resize=pad: images of {height} x {width} px are larger than image_size={image_size}; "
                "use a larger image_size or resize=interpolate"
            )
        if resize == "crop" and (size[0] > height or size[1] > width):
            raise ConfigurationError(
                f"resize=crop: images of {height} x {width} px are smaller than image_size={image_size}; "
                "use a smaller image_size or resize=interpolate"
            )
        normalization = (
            data.normalization if scaling == "standardize" else Normalization.from_scaling(scaling, channels)
        )
        return cls(channels, (height, width), data.stored_fit, size, resize, normalization)

    def shrink(self, share: float) -> "Preprocessing":
        """Return the preprocessing for a smaller input, `share` of the size in steps of 4 px."""
        height, width = (min(length, max(4, 4 * round(share * length / 4))) for length in self.image_size)
        return replace(self, image_size=(height, width), resize="interpolate")

    def resize_images(self, images: Tensor) -> Tensor:
        """Resize uint8 images (N, C, *stored_size) to (N, C, *image_size), still 0 to 255."""
        if self.stored_size == self.image_size:
            return images
        (stored_height, stored_width), (height, width) = self.stored_size, self.image_size
        if self.resize == "pad":
            left, top = (width - stored_width) // 2, (height - stored_height) // 2
            return F.pad(images, (left, width - stored_width - left, top, height - stored_height - top))
        if self.resize == "crop":
            top, left = (stored_height - height) // 2, (stored_width - width) // 2
            return images[..., top : top + height, left : left + width]
        shrinks = height < stored_height or width < stored_width
        return F.interpolate(images.float(), size=self.image_size, mode="bilinear", antialias=shrinks)

    def __call__(self, images: Tensor) -> Tensor:
        """Convert uint8 images (N, C, *stored_size) to float32 (N, *input_shape), in their memory format."""
        if self.network_channels > self.channels:
            images = images.expand(-1, self.network_channels, -1, -1)
        if self.resize == "interpolate" and math.prod(self.image_size) > math.prod(self.stored_size):
            return self.resize_images(self.normalization(images))  # both are linear, and the smaller image costs less
        return self.normalization(self.resize_images(images))
