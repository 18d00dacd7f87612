"""Arithmetic of sizes: of the output of a convolution or a pooling (D2; arXiv:1603.07285), and of batches."""


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Return the pixels a side after a layer: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride + 1).

    The size is 0 or less where the kernel does not fit.

    >>> output_size(224, kernel=11, stride=4, padding=1)
    54
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1


def power_of_two(number: int) -> int:
    """Return the largest power of two that is not larger than a number, and at least 1.

    >>> power_of_two(100)
    64
    """
    return 1 << (max(1, number).bit_length() - 1)
