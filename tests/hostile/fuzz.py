"""A process that reads spoilt files: `python -m tests.hostile.fuzz FOLDER SEED COUNT FORMAT...`.

Each file must be read, or refused by an error of our own in one line, within a second of computing; no more than 512 MB
may be needed above what there was at the start; nothing may be run, and nothing written outside of the folder. Ends
with 0, or tells the first file that does otherwise, which is left in the folder.
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
    """Too long."""


def hang(*_: object) -> None:
    raise Hang


class Watch:
    """Notes what Python tells of forbidden acts, while it is on."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.on, self.seen = f"{folder.resolve()}{os.sep}", False, ""
        sys.addaudithook(self.look)

    def look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        asks_git = event == "subprocess.Popen" and arguments[0] == "git"  # which commit one works at
        if event in FORBIDDEN and not asks_git and not str(arguments[:1]).count(self.folder):
            self.seen = f"{event} {arguments}"
        if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and not os.path.realpath(arguments[0]).startswith((self.folder, os.devnull)):
                self.seen = f"writes {arguments[0]}"


def spoil(content: bytes, draw: np.random.Generator, text: bool) -> bytes:
    """One to six mutations of bytes, or of words."""
    changed = bytearray(content)
    for _ in range(int(draw.integers(1, 7))):
        if not changed:
            break
        at = int(draw.integers(0, len(changed)))
        if draw.random() < 0.5:  # headers are where it matters
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
                other = int(draw.integers(0, len(changed)))
                changed[at : at + length] = changed[other : other + length]
            case _:
                del changed[at:]
    return bytes(changed)


def attempt(form: Format, path: Path) -> str:
    """What is wrong with how a file was read; empty where nothing is."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS * (4 if path.parent.name == "r" else 1))  # a run is trained, too
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


def peak() -> float:
    """Megabytes that this process has needed at the most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read_spoilt(name: str, seed: int, count: int, folder: Path, watch: Watch) -> int:
    """As many spoilt files of a format; 1 where one is not read as it should be."""
    folder.mkdir()
    form, draw = ALL[name], np.random.default_rng((seed, *name.encode()))
    targets = form.make(folder)
    good = {path: path.read_bytes() for path in targets}
    whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} if name == "run" else good
    for path in targets:
        form.read(path)  # once, so that everything is imported
    before = peak()
    for number in range(count):
        path = targets[number % len(targets)]
        path.write_bytes(spoil(good[path], draw, form.text))
        if form.finish:
            form.finish(path)
        watch.on = True
        wrong = attempt(form, path)
        watch.on = False
        wrong = wrong or watch.seen
        if peak() - before > MEGABYTES:
            wrong = wrong or f"needed {peak() - before:.0f} MB"
        if wrong:
            sys.stdout.write(f"{name}, seed {seed}, file {number}: {wrong}; it is {path}\n")
            return 1
        for one, content in whole.items():
            one.write_bytes(content)
    sys.stdout.write(f"{name}: {count} files, {peak() - before:.0f} MB more at the most\n")
    return 0


if __name__ == "__main__":
    faulthandler.enable()
    signal.signal(signal.SIGPROF, hang)
    place, first, files = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    watched = Watch(place)
    sys.exit(max(read_spoilt(one, first, files, place / one, watched) for one in sys.argv[4:]))
