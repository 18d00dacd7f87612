"""Contestants in processes of their own, measured in turn; medians, spread, ratios; a table and a JSON file."""

import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("lenext", "torch", "lightning", "keras", "jax", "fastai", "onnxruntime", "numpy", "pillow")


def serve(work: Callable[[int], float]) -> None:
    """Be a contestant: for each number that comes in, work so many steps and answer with the seconds of one; for the
    word `memory`, with the megabytes that the process has needed at the most."""
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(f"megabytes {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}", flush=True)
            continue
        print(f"seconds {work(int(line))}", flush=True)


class Contestant:
    """A process that serves."""

    def __init__(self, module: str, *arguments: str) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1",
        }  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if "--errors" not in sys.argv else None,
            text=True,
            env=environment,
        )

    def answer(self, word: str) -> str | None:
        """The rest of the next line that begins with this word; None where the process has ended."""
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith(word):
                return line.removeprefix(word).strip()
        return None

    def measure(self, steps: int) -> float | None:
        assert self.process.stdin
        try:
            self.process.stdin.write(f"{steps}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        said = self.answer("seconds")
        return None if said is None else float(said)

    def memory(self) -> float:
        """Megabytes at the most; of a process that has worked."""
        assert self.process.stdin
        self.process.stdin.write("memory\n")
        self.process.stdin.flush()
        return float(self.answer("megabytes") or "nan")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def race(module: str, contestants: Mapping[str, Sequence[str]], steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds a step of each contestant in each round; one that fails is left out, and it is said."""
    running: dict[str, Contestant] = {}
    for name, arguments in contestants.items():
        running[name] = Contestant(module, *arguments)
        if running[name].answer("ready") is None or running[name].measure(max(1, steps // 4)) is None:
            print(f"{name} does not run here")
            running.pop(name).close()
    times: dict[str, list[float]] = {name: [] for name in running}
    try:
        for _ in range(rounds):
            for name, one in running.items():
                seconds = one.measure(steps)
                if seconds is not None:
                    times[name].append(seconds)
    finally:
        for one in running.values():
            one.close()
    return {name: some for name, some in times.items() if some}


def spread(times: Sequence[float]) -> dict[str, float]:
    """Median and the middle half."""
    low, _, high = quantiles(times, n=4) if len(times) > 1 else (times[0],) * 3
    return {"median": median(times), "low": low, "high": high, "rounds": len(times)}


def machine() -> dict[str, Any]:
    """What it was measured on, and with."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    capabilities = [name for name, there in torch.cpu.get_capabilities().items() if there is True and "bf16" in name]
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "threads": torch.get_num_threads(),
        "cpu": ", ".join(capabilities) or "no bf16",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "versions": versions,
    }


def report(name: str, rows: Sequence[Mapping[str, Any]], figures: Mapping[str, Any]) -> None:
    """Print the table and the figures drawn from it, and keep all of it in results/NAME.json."""
    console = Console(width=140, highlight=False)
    table = Table(title=name)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*(format_value(row.get(column, "")) for column in columns))
    console.print(table)
    for key, value in figures.items():
        console.print(f"{key}: {format_value(value)}")
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "rows": list(rows), "figures": dict(figures)}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def format_value(value: Any) -> str:
    """Return a float with four significant digits, anything else as text."""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    return str(value)
