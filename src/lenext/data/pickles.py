"""Pickles read without running anything in them: arrays, numbers, text and plain containers come out, or an error.

A pickle is a program. Here its opcodes are looked at first, and the few functions that arrays are made with are
replaced by stand-ins that check what they are given; every other function, class and opcode is refused.
"""

import io
import pickle
import pickletools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lenext.data.unpack import unpacked
from lenext.foundation.errors import DataError

MOST_BYTES = 2 << 30
REFUSED_OPCODES = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER"}


class Refused(pickle.UnpicklingError):
    """The pickle wants more than arrays."""


class Type:
    """Stands in for numpy.dtype: plain numbers and booleans only."""

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(text(code))
        if self.dtype.kind not in "biuf":
            raise Refused(f"arrays of type '{code}'")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = text(state[1])
        if order not in ("<", ">", "|", "="):
            raise Refused(f"byte order '{order}'")
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class Array:
    """Stands in for numpy.ndarray: bytes that are looked at only once their number is right."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.value = from_bytes(raw(content), kind, shape, "F" if fortran else "C")


class Function:
    """Stands in for a function: it can be called and nothing else; a pickle cannot set anything on it."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise Refused("a change of a function")


def from_bytes(content: bytes | bytearray, kind: Type, shape: tuple[int, ...], order: Any = "C") -> NDArray[Any]:
    if not isinstance(kind, Type) or not all(isinstance(n, int) and n >= 0 for n in shape) or order not in ("C", "F"):
        raise Refused("an array without a plain type and shape")
    if int(np.prod(shape, dtype=object)) * kind.dtype.itemsize != len(content):
        raise Refused(f"an array of shape {shape} with {len(content)} bytes")
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)


def raw(content: object) -> bytes:
    """Bytes as Python 3 has them, or as Python 2 had them (text)."""
    if isinstance(content, bytes | bytearray):
        return bytes(content)
    if isinstance(content, str):
        return content.encode("latin1")
    raise Refused("an array of objects")


def text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def reconstruct(*_: object) -> Array:
    return Array()


def scalar(kind: Type, content: object = b"") -> Any:
    return from_bytes(raw(content), kind, ())[()]


class Reader(pickle.Unpickler):
    """Knows stand-ins for the functions arrays are pickled with, and nothing else."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.budget = len(content)

    def encode(self, value: str, encoding: str) -> bytes:
        """Stands in for _codecs.encode, with which Python 3 writes bytes for Python 2; each byte is made once."""
        self.budget -= len(value)
        if encoding != "latin1" or self.budget < 0:
            raise Refused("text encoded more often than it is there")
        return value.encode("latin1")

    def find_class(self, module: str, name: str) -> Any:
        package = module.replace("numpy._core", "numpy.core")
        known: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): reconstruct,
            ("numpy", "dtype"): Type,
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy.core.multiarray", "scalar"): scalar,
            ("numpy.core.numeric", "_frombuffer"): from_bytes,
            ("_codecs", "encode"): self.encode,
        }
        if (package, name) not in known:
            raise Refused(f"'{module}.{name}'")
        return Function(known[package, name])


def read_pickle(path: Path) -> Any:
    """What the pickle at `path` holds: arrays, numbers, text, lists, tuples and dicts. Raises DataError."""
    try:
        with unpacked(path) as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise DataError(f"{path}: larger than {MOST_BYTES:,} bytes")
        inspect_opcodes(content)
        return plain(Reader(content).load(), budget=[len(content)])
    except Refused as error:
        raise DataError(f"{path}: asks for {error}; only arrays and plain containers are read from a pickle") from error
    except (DataError, OSError, EOFError, zlib.error) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: cannot be read ({error})") from error
    except Exception as error:  # a broken pickle can make the unpickler raise nearly anything
        raise DataError(f"{path}: a broken pickle ({type(error).__name__}: {error})") from error


def inspect_opcodes(content: bytes) -> None:
    """Walk the program without running it: refused opcodes, and memo places that only serve to fill memory."""
    stored = 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in REFUSED_OPCODES:
            raise Refused(f"the opcode {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            stored += 1
            if isinstance(argument, int) and argument > stored + 1_000:
                raise Refused(f"memo place {argument}")


def plain(value: Any, budget: list[int], depth: int = 0) -> Any:
    """Stand-ins replaced by what they stand for. What refers to itself over and over runs out of `budget`."""
    budget[0] -= len(value) if isinstance(value, str | bytes) else 1
    if depth > 20 or budget[0] < 0:
        raise Refused("containers within containers without end")
    if isinstance(value, Array):
        if value.value is None:
            raise Refused("an array without content")
        budget[0] -= value.value.nbytes
        return value.value
    if isinstance(value, list | tuple):
        return type(value)(plain(item, budget, depth + 1) for item in value)
    if isinstance(value, dict):
        return {plain(k, budget, depth + 1): plain(v, budget, depth + 1) for k, v in value.items()}
    if isinstance(value, str | bytes | int | float | bool | np.ndarray | np.generic | None):
        return value
    raise Refused(f"an object of type {type(value).__name__}")
