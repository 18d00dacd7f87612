"""Random command lines from the declared options: `python -m tests.commands.generated FOLDER SEED COUNT`.

Each runs in a separate process. Whatever is typed, there must be no traceback and an exit code of 0, 2 or 130 (a run
that takes long is stopped by Ctrl-C); a refusal must leave no files and compute for at most three seconds. Exits with 1
after printing the command lines that break a rule.
"""

import os
import resource
import shlex
import shutil
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np

from tests.commands.options import SERVING, Option, commands
from tests.recovery.fork_server import IMPORTED_LATE

PATIENCE = 6.0  # seconds after which a command is stopped
GRACE = 30.0  # seconds that it then has
REFUSAL = 3.0  # seconds of computing that a refusal may take
NUMBERS = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "16",
    "0.5",
    "0.25",
    "1e-3",
    "0.1",
    "-1",
    "1.5",
    "1e9",
    "nan",
    "inf",
    "-0",
    "99999999999999999999",
]
HOSTILE = ["", " ", "--", "-", "\x1b]0;title\x07", "a\nb", "é", "日本", "%s", "$(touch x)", "../..", "/dev/null",
           "/dev/zero", "x" * 300, "\x7f", "None", "auto", "all", "true", "\u202e"]  # fmt: skip
NAMES: dict[str, list[str]] = {
    "network": ["lenet", "lenet5", "nin_32px", "own.py:Net", "resnet18_32px", "own.py", "bad.py:Net", "vgg19", "lent"],
    "data": ["digits", "t.csv", "photos", "digits", "bad", "mnist", "digit", "empty", "own.py", "pipe", "large.csv"],
    "run": ["runs/a", "runs/a", "runs/a", "runs/a/weights/best.safetensors", "runs/own", "runs/none", "runs", "t.csv",
            "pipe", "/dev/zero"],
    "image": ["a.png", "photos", "bad", "photos/*/*.png", "t.csv", "none.png", "pipe", "/dev/zero"],
    "recipe": ["quick", "adamw", "r.yaml", "broken.yaml", "runs/a/recipe.yaml", "runs/a", "fast"],
    "folder": ["made", "other/deep", "a.png", "empty", "runs"],
    "file": ["out.png", "made/out.png", "a.png/x.png", "empty", "link", "pipe"],
    "option": ["activation=tanh", "activation=relu,tanh", "norm=batch", "epochs=1,2", "width=0.5", "depths=1", "a",
               "=1", "learning_rate=1e-3..1e-1", "activation="],
}  # fmt: skip
ABOUT = {
    "network": "network", "against": "network", "data": "data", "source": "data", "test-data": "data", "run": "run",
    "runs": "run", "contestants": "network", "image": "image", "images": "image", "recipe": "recipe",
    "augmented": "recipe", "runs-dir": "folder", "data-dir": "folder", "out": "file", "option": "option",
    "weights": "run",
}  # fmt: skip
SMALL = {"--train-samples": "40", "--epochs": "1", "--seeds": "1", "--trials": "1", "--batch-size": "16"}


class Words:
    """Random command lines and their parts."""

    def __init__(self, seed: int) -> None:
        self.draw = np.random.default_rng(seed)

    def pick(self, words: Sequence[str]) -> str:
        return words[int(self.draw.integers(len(words)))]

    def chance(self, share: float) -> bool:
        return bool(self.draw.random() < share)

    def value(self, option: Option) -> str:
        """Draw a value for an option, usually a valid one."""
        if self.chance(0.03):
            return self.pick(HOSTILE)
        if option.choices() and self.chance(0.8):
            return self.pick(option.choices())
        about = ABOUT.get(option.name.strip("-").lower())
        if about and self.chance(0.95):
            return self.pick(NAMES[about][:4] if self.chance(0.75) else NAMES[about])
        if option.name in SMALL and self.chance(0.7):
            return SMALL[option.name]
        numeric = int in option.members() or float in option.members()
        if numeric and self.chance(0.6):
            return self.pick(NUMBERS[1:6] if int in option.members() else NUMBERS[6:10])
        return self.pick(NUMBERS if numeric or self.chance(0.3) else [*HOSTILE, *NAMES[self.pick(list(NAMES))]])

    def line(self, commands: dict[tuple[str, ...], list[Option]]) -> list[str]:
        """Draw a command line: a verb, its arguments, some of its options; rarely something invalid."""
        verbs = list(commands)
        verb = verbs[int(self.draw.integers(len(verbs)))]
        line = list(verb) if not self.chance(0.02) else [self.pick(HOSTILE)]
        options = commands[verb]
        for option in (one for one in options if one.positional):
            many = 2 if option.name.lower() in ("contestants", "runs", "images") else 1
            line += [self.value(option) for _ in range(many) if not self.chance(0.02)]
        named = [one for one in options if not one.positional]
        for option in named:  # that keep a training short
            if option.name in SMALL and self.chance(0.9):
                line += [option.name, SMALL[option.name]]
        for _ in range(int(self.draw.integers(0, 4))):
            if named:
                option = named[int(self.draw.integers(len(named)))]
                name = option.name if not self.chance(0.01) else option.name + self.pick(["x", "=", " "])
                line += [name] if option.flag and not self.chance(0.02) else [name, self.value(option)]
        self.draw.shuffle(line[len(verb) :])
        return [word.replace("\0", "") for word in line]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Return every file and folder with its size and the time of its last change."""
    states = {}
    for path in folder.rglob("*"):
        state = path.lstat()
        states[str(path.relative_to(folder))] = (0, 0) if path.is_dir() else (state.st_size, state.st_mtime_ns)
    return states


def start(line: list[str], place: Path) -> int:
    """Fork a process that runs the command, with its output in files outside `place`; return its id."""
    if number := os.fork():
        return number
    code = 1
    try:
        os.chdir(place)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for descriptor, name in ((0, os.devnull), (1, str(place.parent / "out")), (2, str(place.parent / "err"))):
            flags = os.O_RDONLY if not descriptor else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            os.dup2(os.open(name, flags, 0o644), descriptor)
        from lenext.__main__ import main

        code = main(line)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def finish(number: int) -> tuple[int, float, bool]:
    """Wait for a process, stopping it if it takes long; return exit code, CPU seconds, and whether it was stopped."""
    begun, stopped = time.monotonic(), 0
    while True:
        ended, status, usage = os.wait4(number, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, stopped > 0
        waited = time.monotonic() - begun
        if (waited > PATIENCE and stopped == 0) or (waited > PATIENCE + GRACE / 2 and stopped == 1):
            os.kill(number, signal.SIGINT)
            stopped += 1
        if waited > PATIENCE + GRACE:
            os.kill(number, signal.SIGKILL)
        time.sleep(0.005)


def complaint(line: list[str], template: Path, place: Path) -> tuple[str, str]:
    """Run a command; return what is wrong with how it ended, or an empty text, and how it ended."""
    if not place.exists():
        shutil.copytree(template, place, symlinks=True, copy_function=copy)
    before = tree(place)
    code, seconds, stopped = finish(start(line, place))
    out, err = ((place.parent / name).read_text(errors="surrogateescape") for name in ("out", "err"))
    after = tree(place)
    kind = f"{code}{' stopped' if stopped else ''}"
    wrong = ""
    if "Traceback" in out + err or "Exception ignored" in err:
        wrong = f"a traceback:\n{err[-3000:]}"
    elif code not in (0, 2, 130):
        wrong = f"exit code {code}"
    elif bad := [character for character in out + err if (ord(character) < 32 and character not in "\n\t")
                 or 0x7F <= ord(character) <= 0x9F]:  # fmt: skip
        wrong = f"control characters {bad[:5]}"
    elif code == 2 and after != before:
        changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
        wrong = f"a refusal that leaves {changed[:5]}"
    elif code == 2 and seconds > REFUSAL and not stopped:
        wrong = f"a refusal after {seconds:.1f} s of computing"
    elif code == 2 and len(err.splitlines()) != 1 and "--help" not in line:
        wrong = f"an error in {len(err.splitlines())} lines"
    if after != before:
        shutil.rmtree(place)
    return (f"{wrong}\n{err[-600:]}" if wrong else ""), kind


def copy(source: str, target: str) -> str:
    """Copy a file, or make a new pipe in place of a pipe."""
    if not os.path.isfile(source):
        os.mkfifo(target)
        return target
    return shutil.copy2(source, target)


def prepare(template: Path) -> None:
    """Make the folder in which all commands run: runs, data, images, a network, and invalid files."""
    from PIL import Image

    from lenext.cli import run
    from tests.commands.test_effects import OWN
    from tests.data.makers import write_table

    template.mkdir(parents=True)
    write_table(template / "t.csv", [[k % 2, *((k * 7 + at) % 256 for at in range(64))] for k in range(40)])
    (template / "large.csv").write_text("1" + ",1" * 3_000_000 + "\n")
    (template / "own.py").write_text(OWN)
    (template / "bad.py").write_text("raise BaseException('of my own')\nclass Net: pass\n")
    (template / "r.yaml").write_text("data: t.csv\nrecipe:\n  epochs: 1\n")
    (template / "broken.yaml").write_text("a: [\n")
    (template / "empty").mkdir()
    os.mkfifo(template / "pipe")
    (template / "link").symlink_to("linked")
    gradient = Image.linear_gradient("L")
    gradient.resize((40, 60)).save(template / "a.png")
    for folder in ("photos", "bad"):
        for label in ("x", "y\x1b[31m"):
            (template / folder / label).mkdir(parents=True)
            for number in range(8):
                turned = gradient.rotate(90 * number + (label == "x") * 7).resize((32, 32))
                turned.save(template / folder / label / f"{number}.png")
    (template / "bad" / "x" / "0.png").write_bytes(b"no image")
    os.chdir(template)
    for words in (
        "lenet --data digits --train-samples 60 --epochs 1 --name a",
        "own.py:Net --data t.csv --epochs 1 --name own",
    ):
        assert run(["train", *words.split()]) == 0
    os.chdir("/")


def main(folder: Path, seed: int, count: int) -> int:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    template, place = folder / "template", folder / "place" / "here"
    os.environ |= {"LENEXT_DATA": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    import torch

    torch.set_num_threads(1)
    if not template.exists():
        prepare(template)
    late = (*IMPORTED_LATE, "lenext.workflows.audit", "lenext.comparison.search", "lenext.workflows.show")
    for module in (*late, "sklearn.manifold"):
        import_module(module)
    options = {words: given for words, given in commands().items() if words[0] not in SERVING}
    kinds = Counter[str]()
    place.parent.mkdir(exist_ok=True)
    begun, failures = time.monotonic(), 0
    for number in range(count):
        line = Words(seed * 1_000_003 + number).line(options)
        wrong, kind = complaint(line, template, place)
        kinds[kind] += 1
        if wrong:
            sys.stdout.write(f"number {number} of seed {seed}: lenext {shlex.join(line)}\n{wrong}\n")
            sys.stdout.flush()
            failures += 1
        if number % 500 == 499:
            sys.stdout.write(f"{number + 1} in {time.monotonic() - begun:.0f} s: {dict(kinds)}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{count} command lines: {dict(kinds)}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
