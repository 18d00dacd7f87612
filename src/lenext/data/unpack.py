"""Open files that may be gzipped; decompression bombs are refused."""

import gzip
import io
from pathlib import Path
from typing import IO, cast

from lenext.foundation.errors import DataError
from lenext.foundation.files import open_regular

MIN_LIMIT_BYTES = 64 << 20  # any file may decompress to this much
CHUNK_BYTES = 1 << 20
MAX_RATIO = 50  # of decompressed to compressed size; images and tables have 3 to 20


def open_decompressed(path: Path) -> IO[bytes]:
    """Open a file, and decompress it if its name ends in .gz. Reading raises DataError for a decompression bomb."""
    if path.suffix != ".gz":
        return open_regular(path)
    return cast(IO[bytes], io.BufferedReader(LimitedGzip(path)))


class LimitedGzip(io.RawIOBase):
    """The content of a gzipped file, up to a limit."""

    def __init__(self, path: Path) -> None:
        self.path, self.packed = path, open_regular(path)
        self.file = gzip.open(self.packed)  # noqa: SIM115, closed below
        self.remaining = max(MIN_LIMIT_BYTES, MAX_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.file.read(min(len(buffer), CHUNK_BYTES))  # so that the limit is checked early
        self.remaining -= len(chunk)
        if self.remaining < 0:
            raise DataError(
                f"{self.path}: decompresses to more than {MAX_RATIO} times its size; unpack it yourself if you trust it"
            )
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        self.file.close()
        self.packed.close()
        super().close()
