"""How long the command line takes to answer, beside `python -c pass`: python -m benchmarks.startup."""

import subprocess
import sys
import time

from benchmarks.harness import report, spread

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "lenext --help": ["-m", "lenext", "--help"],
    "lenext train --help": ["-m", "lenext", "train", "--help"],
    "import torch": ["-c", "import torch"],
    "lenext summary resnet18": ["-m", "lenext", "summary", "resnet18"],
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(9):
        for name, arguments in COMMANDS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            times[name].append(time.perf_counter() - begun)
    found = {name: spread(some) for name, some in times.items()}
    rows = [
        {"command": name, "s": one["median"], "interquartile range": f"{one['low']:.3f} to {one['high']:.3f}"}
        for name, one in found.items()
    ]
    bare = found["python -c pass"]["median"]
    figures = {
        f"{name}, s more than `python -c pass`": found[name]["median"] - bare
        for name in ("lenext --help", "lenext train --help")
    }
    figures["summary resnet18, times `import torch`"] = (
        found["lenext summary resnet18"]["median"] / found["import torch"]["median"]
    )
    report("startup", rows, figures)


if __name__ == "__main__":
    main()
