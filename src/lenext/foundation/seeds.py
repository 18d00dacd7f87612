"""Random numbers as pure functions of where they are used, so that a run can be repeated and gone on with exactly."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def mix_seeds(seed: int, *position: int) -> int:
    """One 63-bit seed out of a seed and a position such as (epoch, step); near positions give unrelated seeds."""
    state = np.random.SeedSequence((seed, *position)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seeds(count: int, seed: int, *position: int) -> list[int]:
    """`count` 63-bit seeds for what comes one after the other at this position, such as the steps of an epoch."""
    words = np.random.SeedSequence((seed, *position)).generate_state(count, np.uint64)
    return [int(word) for word in words >> np.uint64(1)]


def generator(seed: int, *position: int) -> torch.Generator:
    """A CPU generator for this position."""
    return torch.Generator().manual_seed(mix_seeds(seed, *position))


def save_random_states(device: torch.device) -> dict[str, Any]:
    """The states of the generators that a person's own code may draw from: Python's, NumPy's, torch's."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    states = {
        "python": [version, list(words), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],  # type: ignore[union-attr]
        "torch": torch.get_rng_state(),
    }
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Bring these generators into the states that `random_states` gave."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
