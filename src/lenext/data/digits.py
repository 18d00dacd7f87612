"""Load scikit-learn's digits (Alpaydin & Kaynak 1998): 1,797 of 8 x 8 px and 17 shades. Needs no network access."""

import numpy as np
import torch
from torch.nn import functional as F

from lenext.data import LoadOptions
from lenext.data.dataset import Dataset
from lenext.data.splitting import split_rows

TEST_FRACTION = 0.2
SPLIT_SEED = 1998  # the dataset is published without a test set; this one is the same in every run


def load(options: LoadOptions) -> Dataset:
    """Load the digits, enlarged three times (bicubic) and padded like MNIST: 1 x 28 x 28; a fifth is the test set."""
    from sklearn.datasets import load_digits  # 0.5 s, for this dataset alone

    small, labels = load_digits(return_X_y=True)
    shades = torch.from_numpy(small.astype(np.float32)).view(-1, 1, 8, 8) * (255 / 16)
    large = F.interpolate(shades, scale_factor=3, mode="bicubic").round().clamp(0, 255).to(torch.uint8)
    data = Dataset.from_arrays(F.pad(large, (2, 2, 2, 2)).numpy(), labels, name="digits")
    train, test = split_rows(data.train.labels, TEST_FRACTION, "stratified", SPLIT_SEED)
    source = {"kind": "scikit-learn's load_digits"}
    return Dataset("digits", data.classes, data.train.take(train), test=data.train.take(test), source=source)
