"""Random numbers as pure functions of the position where they are used, so that a run repeats and resumes exactly."""

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def mix_seeds(seed: int, *position: int) -> int:
    """Return a 63-bit seed for a position such as (epoch, step); near positions give unrelated seeds."""
    state = np.random.SeedSequence((seed, *position)).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def seeds(count: int, seed: int, *position: int) -> list[int]:
    """Return `count` 63-bit seeds for a position, such as one for each step of an epoch."""
    words = np.random.SeedSequence((seed, *position)).generate_state(count, np.uint64)
    return [int(word) for word in words >> np.uint64(1)]


def generator(seed: int, *position: int) -> torch.Generator:
    """Return a CPU generator for a position."""
    return torch.Generator().manual_seed(mix_seeds(seed, *position))


def save_random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the generators that user code may draw from: Python's, NumPy's, torch's."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    states = {
        "python": [version, list(words), gauss],
        "numpy": [name, keys.tolist(), position, has_gauss, cached],  # type: ignore[union-attr]
        "torch": torch.get_rng_state(),
    }
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Restore the states that `save_random_states` returned."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.asarray(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def seed_step(seed: int, device: torch.device) -> None:
    """Seed what a network and its loss draw in one step."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(seed)  # a tenth of the time that seeding every device takes
    else:
        torch.manual_seed(seed)
