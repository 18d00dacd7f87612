"""What happens to stored pixels before a network sees them; kept with the weights, so that prediction does the same."""

import math
from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional as F

from lenext.data.dataset import Dataset
from lenext.data.images import Size
from lenext.foundation.errors import ConfigurationError
from lenext.foundation.normalization import Normalization
from lenext.foundation.settings import Fit, Resize


@dataclass(frozen=True)
class Preprocessing:
    """channels, stored_size, stored_fit: how a file becomes stored pixels, (height, width) in pixels
    image_size, resize: what the network is given; `pad` puts black around the image instead of enlarging
    it, `crop` cuts out its middle
    normalization: from pixels to numbers
    network_channels: what the network takes; grey images are repeated where it is more
    """

    channels: int
    stored_size: Size
    stored_fit: Fit
    image_size: Size
    resize: Resize
    normalization: Normalization
    network_channels: int = 0

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) as the network takes it."""
        return self.network_channels or self.channels, *self.image_size

    @classmethod
    def from_dataset(cls, data: Dataset, image_size: int | str, resize: Resize, scaling: str) -> "Preprocessing":
        """For a data set (divided, so that its normalization is of the training images alone)."""
        channels, height, width = data.shape
        size = (height, width) if isinstance(image_size, str) else (image_size, image_size)
        if resize == "pad" and (size[0] < height or size[1] < width):
            raise ConfigurationError(
                f"resize=pad: images of {height} x {width} px are larger than image_size={image_size}; "
                "give a larger image_size or resize=interpolate"
            )
        if resize == "crop" and (size[0] > height or size[1] > width):
            raise ConfigurationError(
                f"resize=crop: images of {height} x {width} px are smaller than image_size={image_size}; "
                "give a smaller image_size or resize=interpolate"
            )
        normalization = data.normalization if scaling == "standardize" else Normalization.fixed(scaling, channels)
        return cls(channels, (height, width), data.stored_fit, size, resize, normalization)

    def shrink(self, share: float) -> "Preprocessing":
        """The same for a smaller image, of this share of the size, in whole steps of 4 px."""
        tall, wide = (min(length, max(4, 4 * round(share * length / 4))) for length in self.image_size)
        return replace(self, image_size=(tall, wide), resize="interpolate")

    def resize_images(self, images: Tensor) -> Tensor:
        """uint8 images (N, C, *stored_size) to (N, C, *image_size), still 0 to 255."""
        if self.stored_size == self.image_size:
            return images
        (height, width), (tall, wide) = self.stored_size, self.image_size
        if self.resize == "pad":
            left, top = (wide - width) // 2, (tall - height) // 2
            return F.pad(images, (left, wide - width - left, top, tall - height - top))
        if self.resize == "crop":
            top, left = (height - tall) // 2, (width - wide) // 2
            return images[..., top : top + tall, left : left + wide]
        shrinks = tall < height or wide < width
        return F.interpolate(images.float(), size=self.image_size, mode="bilinear", antialias=shrinks)

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 images (N, C, *stored_size) to float32 (N, *input_shape), in the memory format that they have."""
        if self.network_channels > self.channels:
            images = images.expand(-1, self.network_channels, -1, -1)
        if self.resize == "interpolate" and math.prod(self.image_size) > math.prod(self.stored_size):
            return self.resize_images(self.normalization(images))  # both are linear, and the smaller image costs less
        return self.normalization(self.resize_images(images))
