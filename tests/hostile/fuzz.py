"""A process that reads corrupted files: `python -m tests.hostile.fuzz FOLDER SEED COUNT FORMAT...`.

Each file must be read, or refused by a LenextError of one line, within a second of computing and with at most 512 MB
more than at the start; nothing may be executed, and nothing written outside the folder. Exits with 0, or with 1 after
printing the first file that breaks a rule, which stays in the folder.
"""

import faulthandler
import os
import re
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np

from lenext.foundation.errors import LenextError
from tests.hostile.formats import ALL, WORDS, Format, check

SECONDS = 1.0
MEGABYTES = 512
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "ctypes.dlopen",
             "shutil.rmtree", "os.symlink", "os.link")  # fmt: skip


class Hang(BaseException):
    """Raised when reading a file takes too long."""


def hang(*_: object) -> None:
    raise Hang


class Watch:
    """An audit hook that records forbidden actions while it is on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.seen = f"{folder.resolve()}{os.sep}", False, ""
        sys.addaudithook(self.look)

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        asks_git = event == "subprocess.Popen" and arguments[0] == "git"  # for the commit in environment.json
        if event in FORBIDDEN and not asks_git and not str(arguments[:1]).count(self.folder):
            self.seen = f"{event} {arguments}"
        if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not os.path.realpath(arguments[0]).startswith((self.folder, os.devnull)):
                self.seen = f"writes {arguments[0]}"


def corrupt(content: bytes, draw: np.random.Generator, text: bool) -> bytes:
    """Return the content with one to six mutations of bytes, or of words."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 7))):
        if not changed:
            break
        at = int(draw.integers(0, len(changed)))
        if draw.random() < 0.5:  # prefer the header
            at = min(at, int(draw.integers(0, 300)))
        length = int(draw.integers(1, 9))
        if text and draw.random() < 0.7:
            words = list(re.finditer(rb"[^\s,:\[\]{}\"]+", bytes(changed)))
            if words:
                word = words[int(draw.integers(0, len(words)))]
                changed[word.start() : word.end()] = WORDS[int(draw.integers(0, len(WORDS)))].encode()
            continue
        match int(draw.integers(0, 8)):
            case 0:
                changed[at] ^= 1 << int(draw.integers(0, 8))
            case 1:
                changed[at] = int(draw.integers(0, 256))
            case 2:
                changed[at : at + length] = b"\xff" * length
            case 3:
                changed[at : at + length] = bytes(length)
            case 4:
                del changed[at : at + int(draw.integers(1, 50))]
            case 5:
                changed[at:at] = changed[at : at + int(draw.integers(1, 50))]
            case 6:
                start = int(draw.integers(0, len(changed)))
                changed[at : at + length] = changed[start : start + length]
            case _:
                del changed[at:]
    return bytes(changed)


def attempt(form: Format, path: Path) -> str:
    """Read a file; return what went wrong, or an empty text."""
    signal.setitimer(
        signal.ITIMER_PROF, SECONDS * (4 if path.parent.name == "r" else 1)
    )  # of a run folder, training is resumed as well
    try:
        form.read(path)
    except LenextError as error:
        check(error)
    except Hang:
        return "took more than a second"
    except BaseException as error:
        import traceback

        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""


def peak_megabytes() -> float:
    """Return the peak memory of this process in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_corrupted(name: str, seed: int, count: int, folder: Path, watch: Watch) -> int:
    """Read `count` corrupted files of a format; return 1 if one of them breaks a rule, else 0."""
    folder.mkdir()
    form, draw = ALL[name], np.random.default_rng((seed, *name.encode()))
    targets = form.make(folder)
    good = {path: path.read_bytes() for path in targets}
    originals = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if name == "run" else good
    for path in targets:
        form.read(path)  # imports everything
    before = peak_megabytes()
    for number in range(count):
        path = targets[number % len(targets)]
        path.write_bytes(corrupt(good[path], draw, form.text))
        if form.finish:
            form.finish(path)
        watch.on = True
        wrong = attempt(form, path)
        watch.on = False
        wrong = wrong or watch.seen
        if peak_megabytes() - before > MEGABYTES:
            wrong = wrong or f"needed {peak_megabytes() - before:.0f} MB"
        if wrong:
            sys.stdout.write(f"{name}, seed {seed}, file {number}: {wrong}; it is {path}\n")
            return 1
        for original, content in originals.items():
            original.write_bytes(content)
    sys.stdout.write(f"{name}: {count} files, {peak_megabytes() - before:.0f} MB more at most\n")
    return 0


if __name__ == "__main__":
    faulthandler.enable()
    signal.signal(signal.SIGPROF, hang)
    place, first, files = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    watched = Watch(place)
    sys.exit(max(read_corrupted(name, first, files, place / name, watched) for name in sys.argv[4:]))
