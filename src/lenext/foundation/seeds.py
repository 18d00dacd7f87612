"""Random numbers as pure functions of where they are used, so that a run can be repeated and gone on with exactly."""

import numpy as np
import torch


def mixed(seed: int, *position: int) -> int:
    """One 63-bit seed out of a seed and a position such as (epoch, step); near positions give unrelated seeds."""
    state = np.random.SeedSequence((seed, *position)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seeds(count: int, seed: int, *position: int) -> list[int]:
    """`count` 63-bit seeds for what comes one after the other at this position, such as the steps of an epoch."""
    words = np.random.SeedSequence((seed, *position)).generate_state(count, np.uint64)
    return [int(word) for word in words >> np.uint64(1)]


def generator(seed: int, *position: int) -> torch.Generator:
    """A CPU generator for this position."""
    return torch.Generator().manual_seed(mixed(seed, *position))
