"""Write and read safetensors files with a text and a SHA-256, which is checked before anything is parsed.

The metadata hold the text under a key, and a `sha256` over the full file with those 64 characters as zeros: safetensors
itself accepts files with flipped bits.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from lenext.foundation.errors import RunError
from lenext.foundation.files import open_regular, write_atomic

ZEROS = "0" * 64
SHA_PATTERN = re.compile(rb'"sha256":"([0-9a-f]{64})"')
MAX_HEADER_BYTES = 100_000_000  # the limit of safetensors
MAX_REASON_CHARACTERS = 200


def write_signed(path: Path, key: str, text: str, tensors: Mapping[str, Tensor], *, read_back: bool = False) -> None:
    """Write a file atomically: an error leaves the previous file unchanged."""
    separate = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    content = memoryview(safetensors.torch.save(separate))
    length = int.from_bytes(content[:8], "little")
    described = {"__metadata__": {key: text, "sha256": ZEROS}} | json.loads(bytes(content[8 : 8 + length]))
    header = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()  # in the same order every time
    header += b" " * (-len(header) % 8)
    pieces: list[bytes | memoryview] = [len(header).to_bytes(8, "little"), header, content[8 + length :]]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    pieces[1] = header.replace(f'"sha256":"{ZEROS}"'.encode(), f'"sha256":"{digest.hexdigest()}"'.encode(), 1)
    write_atomic(path, pieces, read_back=read_back)


def read_signed(
    path: Path, key: str, kind: str, max_header_bytes: int = MAX_HEADER_BYTES
) -> tuple[str, dict[str, Tensor]]:
    """Read the text and the tensors of a file.

    Args:
        path: The file.
        key: Key of the text in the metadata.
        kind: What the file should be, for errors.
        max_header_bytes: Largest header that is read.

    Raises:
        RunError: The file is missing, changed, of another kind, or its header is too large.
    """
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            content = b"" if length > max_header_bytes else length.to_bytes(8, "little") + file.read(length)
            match = SHA_PATTERN.search(content, 8)
            content += file.read() if match else b""  # another kind of file is not read to its end
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error
    if match is None:
        raise RunError(f"{path}: not {kind}")
    start, end = match.span(1)
    view = memoryview(content)
    digest = hashlib.sha256(view[:start])
    digest.update(ZEROS.encode())
    digest.update(view[end:])
    if digest.hexdigest() != match[1].decode():
        raise RunError(f"{path}: the file was changed or damaged since it was written (its SHA-256 differs)")
    try:
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        if key not in metadata:
            raise RunError(f"{path}: not {kind}")
        return metadata[key], safetensors.torch.load(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise unknown_format_error(path, error) from error


def unknown_format_error(path: Path, error: Exception) -> RunError:
    """Return the error for a file whose content this version cannot read."""
    reason = " ".join(f"{type(error).__name__} {error}".split())[:MAX_REASON_CHARACTERS]
    return RunError(f"{path}: of an unknown format ({reason}); it needs another version of lenext")
