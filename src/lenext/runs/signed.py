"""Tensors and a text in one safetensors file that is checked before it is parsed.

The metadata hold the text under one key, and a `sha256` over the whole file with those 64 characters as zeros:
safetensors itself accepts files with flipped bits.
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
SHA = re.compile(rb'"sha256":"([0-9a-f]{64})"')
LONGEST_HEADER = 100_000_000  # bytes; safetensors allows no more


def write_signed(path: Path, key: str, text: str, tensors: Mapping[str, Tensor], *, read_back: bool = False) -> None:
    """Write a whole file, or leave the one that was there."""
    apart = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    content = memoryview(safetensors.torch.save(apart))
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


def read_signed(path: Path, key: str, what: str, most: int = LONGEST_HEADER) -> tuple[str, dict[str, Tensor]]:
    """The text and the tensors. Raises RunError for a file that is missing, changed or no `what`, or whose header has
    more than `most` bytes."""
    try:
        with open_regular(path) as file:
            length = int.from_bytes(file.read(8), "little")
            content = b"" if length > most else length.to_bytes(8, "little") + file.read(length)
            found = SHA.search(content, 8)
            content += file.read() if found else b""  # what is no such file is not read to its end
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error})") from error
    if found is None:
        raise RunError(f"{path}: not {what}")
    start, end = found.span(1)
    view = memoryview(content)
    digest = hashlib.sha256(view[:start])
    digest.update(ZEROS.encode())
    digest.update(view[end:])
    if digest.hexdigest() != found[1].decode():
        raise RunError(f"{path}: the file was changed or damaged since it was written (its SHA-256 differs)")
    try:
        metadata = json.loads(content[8 : 8 + length])["__metadata__"]
        if key not in metadata:
            raise RunError(f"{path}: not {what}")
        return metadata[key], safetensors.torch.load(content)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise unknown_format_error(path, error) from error


def unknown_format_error(path: Path, error: Exception) -> RunError:
    said = " ".join(f"{type(error).__name__} {error}".split())[:200]
    return RunError(f"{path}: of an unknown make ({said}); it needs another version of lenext")
