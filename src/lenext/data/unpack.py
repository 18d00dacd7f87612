"""Files that may be gzipped, read as what they hold; one that would fill the memory out of nothing is refused."""

import gzip
import io
from pathlib import Path
from typing import IO, cast

from lenext.foundation.errors import DataError
from lenext.foundation.files import open_regular

ALWAYS = 64 << 20  # bytes that may come out of any file
CHUNK = 1 << 20
RATIO = 50  # times its size; images and tables come to 3 to 20


def unpacked(path: Path) -> IO[bytes]:
    """Open a file, gzipped where its name ends in .gz. Reading raises DataError where too much comes out of it."""
    if path.suffix != ".gz":
        return open_regular(path)
    return cast(IO[bytes], io.BufferedReader(Limited(path)))


class Limited(io.RawIOBase):
    """The content of a gzipped file, up to a limit."""

    def __init__(self, path: Path) -> None:
        self.path, self.packed = path, open_regular(path)
        self.file = gzip.open(self.packed)  # noqa: SIM115, closed below
        self.left = max(ALWAYS, RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.file.read(min(len(buffer), CHUNK))  # so that the limit is looked at before much has come out
        self.left -= len(chunk)
        if self.left < 0:
            raise DataError(
                f"{self.path}: more than {RATIO} times its size comes out of it; unpack it, if you trust it"
            )
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self.file.close()
        self.packed.close()
        super().close()
