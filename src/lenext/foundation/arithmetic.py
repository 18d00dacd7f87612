"""Convolution arithmetic: the output size of a convolution or a pooling (D2; arXiv:1603.07285)."""


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """Return the pixels a side after a layer: floor((size + 2 padding - dilation (kernel - 1) - 1) / stride + 1).

    The size is 0 or less where the kernel does not fit.

    >>> output_size(224, kernel=11, stride=4, padding=1)
    54
    """
    return (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
