"""A folder of 100,000 generated JPEGs: python -m benchmarks.folder FOLDER [COUNT].

The images are made in FOLDER where they are not there yet. Two processes, one after the other, load the folder and
go through an epoch of batches at 224 px: how long each takes to begin, and how the memory goes over the epoch.
"""

import json
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.harness import report

CLASSES = 10


def make(folder: Path, number: int) -> None:
    """One noisy image of 256 x 192 px."""
    path = folder / "train" / f"class{number % CLASSES}" / f"{number:06d}.jpg"
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(number).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(small).resize((256, 192), Image.Resampling.BILINEAR).save(path, quality=85)


def epoch(folder: str, size: int) -> None:
    """Load, then go through the training batches; print when it began and the memory on the way."""
    begun = time.perf_counter()
    import torch

    import lenext
    from lenext.data.augment import Augmentation
    from lenext.data.batches import draw_epoch_order, training_batches
    from lenext.data.preprocessing import Preprocessing
    from lenext.foundation.device import Compute
    from lenext.training.settings import split_by_recipe

    recipe = lenext.Recipe(image_size=size, batch_size=128)
    imported = time.perf_counter()
    data = split_by_recipe(lenext.load(folder, image_size=size), recipe)
    loaded = time.perf_counter()
    prepare = Preprocessing.from_dataset(data, size, "interpolate", "standardize")
    order = draw_epoch_order(len(data.train), 0, 1)
    made = training_batches(data.train, order, prepare, Augmentation(True), Compute.choose("cpu"), 128)
    next(made)
    first = time.perf_counter()
    memory, process, seen = [], psutil.Process(), 0
    for place, batch in enumerate(made):
        seen += len(batch.images)
        if place % 20 == 0:
            memory.append(process.memory_info().rss / 1e6)
    told = {
        "import_s": imported - begun,
        "load_s": loaded - imported,
        "first_batch_s": first - loaded,
        "images_per_s": seen / (time.perf_counter() - first),
        "memory_mb": memory,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(told))


def main(folder: Path, count: int) -> None:
    with ProcessPoolExecutor() as pool:
        list(pool.map(make, [folder] * count, range(count), chunksize=500))
    rows, told = [], {}
    for start in ("first", "second"):
        command = [sys.executable, "-m", "benchmarks.folder", "--epoch", str(folder), "224"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
        memory = told["memory_mb"]
        tenth = max(1, len(memory) // 10)
        rows.append(
            {
                "start": start,
                "load, s": told["load_s"],
                "first batch, s": told["first_batch_s"],
                "images/s": told["images_per_s"],
                "MB after a tenth": memory[tenth],
                "MB at the end": memory[-1],
                "MB at most": max(memory),
            }
        )
    figures = {
        "images": count,
        "second start, s": rows[1]["load, s"] + rows[1]["first batch, s"],
        "memory at the end / after a tenth": rows[1]["MB at the end"] / rows[1]["MB after a tenth"],
    }
    report("folder", rows, figures)


if __name__ == "__main__":
    if sys.argv[1] == "--epoch":
        epoch(sys.argv[2], int(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
