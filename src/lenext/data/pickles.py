"""Read pickles of arrays, numbers, text and plain containers without running any code in them.

A pickle is a program. Its opcodes are inspected first, and the few functions that build arrays are replaced by
stand-ins that check their arguments; every other function, class and opcode is refused.
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

from lenext.data.unpack import open_decompressed
from lenext.foundation.errors import DataError

MAX_PICKLE_BYTES = 2 << 30
MAX_DEPTH = 20  # of containers in containers
MAX_MEMO_GAP = 1_000  # between the number of a memo entry and the number of entries
REFUSED_OPCODES = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER"}


class RefusedError(pickle.UnpicklingError):
    """Raised for a pickle that needs more than arrays and plain containers."""


class DtypeStandIn:
    """Stand-in for numpy.dtype: plain numbers and booleans only."""

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(to_text(code))
        if self.dtype.kind not in "biuf":
            raise RefusedError(f"arrays of type '{code}'")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = to_text(state[1])
        if order not in ("<", ">", "|", "="):
            raise RefusedError(f"byte order '{order}'")
        self.dtype = self.dtype.newbyteorder(order)  # type: ignore[arg-type]


class ArrayStandIn:
    """Stand-in for numpy.ndarray: its bytes are interpreted only once their number is right."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, content = state
        self.value = array_from_bytes(to_bytes(content), kind, shape, "F" if fortran else "C")


class FunctionStandIn:
    """Stand-in for a function: it can only be called; a pickle cannot set attributes of it."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call

    def __call__(self, *arguments: Any) -> Any:
        return self.call(*arguments)

    def __setstate__(self, state: object) -> None:
        raise RefusedError("an assignment to a function")


def array_from_bytes(
    content: bytes | bytearray, kind: DtypeStandIn, shape: tuple[int, ...], order: Any = "C"
) -> NDArray[Any]:
    if (
        not isinstance(kind, DtypeStandIn)
        or not all(isinstance(n, int) and n >= 0 for n in shape)
        or order not in ("C", "F")
    ):
        raise RefusedError("an array without a plain type and shape")
    if int(np.prod(shape, dtype=object)) * kind.dtype.itemsize != len(content):
        raise RefusedError(f"an array of shape {shape} with {len(content)} bytes")
    return np.frombuffer(content, kind.dtype).reshape(shape, order=order)


def to_bytes(content: object) -> bytes:
    """Return bytes as Python 3 pickles them, or as Python 2 did (as text)."""
    if isinstance(content, bytes | bytearray):
        return bytes(content)
    if isinstance(content, str):
        return content.encode("latin1")
    raise RefusedError("an array of objects")


def to_text(value: object) -> str:
    return value.decode("latin1") if isinstance(value, bytes) else str(value)


def reconstruct(*_: object) -> ArrayStandIn:
    return ArrayStandIn()


def scalar(kind: DtypeStandIn, content: object = b"") -> Any:
    return array_from_bytes(to_bytes(content), kind, ())[()]


class RestrictedUnpickler(pickle.Unpickler):
    """Unpickler that knows stand-ins for the functions that build arrays, and nothing else."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self.budget = len(content)

    def encode(self, value: str, encoding: str) -> bytes:
        """Stand-in for _codecs.encode, with which Python 3 writes bytes for Python 2; each byte may be encoded once."""
        self.budget -= len(value)
        if encoding != "latin1" or self.budget < 0:
            raise RefusedError("text encoded more often than it occurs")
        return value.encode("latin1")

    def find_class(self, module: str, name: str) -> Any:
        package = module.replace("numpy._core", "numpy.core")
        stand_ins: dict[tuple[str, str], Callable[..., Any]] = {
            ("numpy", "ndarray"): reconstruct,
            ("numpy", "dtype"): DtypeStandIn,
            ("numpy.core.multiarray", "_reconstruct"): reconstruct,
            ("numpy.core.multiarray", "scalar"): scalar,
            ("numpy.core.numeric", "_frombuffer"): array_from_bytes,
            ("_codecs", "encode"): self.encode,
        }
        if (package, name) not in stand_ins:
            raise RefusedError(f"'{module}.{name}'")
        return FunctionStandIn(stand_ins[package, name])


def read_pickle(path: Path) -> Any:
    """Read a pickle of arrays, numbers, text, lists, tuples and dicts. Raises DataError."""
    try:
        with open_decompressed(path) as file:
            content = file.read(MAX_PICKLE_BYTES + 1)
        if len(content) > MAX_PICKLE_BYTES:
            raise DataError(f"{path}: larger than {MAX_PICKLE_BYTES:,} bytes; save the images as a folder instead")
        inspect_opcodes(content)
        return replace_stand_ins(RestrictedUnpickler(content).load(), budget=[len(content)])
    except RefusedError as error:
        raise DataError(f"{path}: asks for {error}; only arrays and plain containers are read from a pickle") from error
    except (DataError, OSError, EOFError, zlib.error) as error:
        raise error if isinstance(error, DataError) else DataError(f"{path}: cannot be read ({error})") from error
    except Exception as error:  # a broken pickle can make the unpickler raise nearly anything
        raise DataError(f"{path}: a broken pickle ({type(error).__name__}: {error})") from error


def inspect_opcodes(content: bytes) -> None:
    """Refuse forbidden opcodes, and memo numbers that only serve to fill memory, without running the pickle."""
    stored = 0
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in REFUSED_OPCODES:
            raise RefusedError(f"the opcode {opcode.name}")
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            stored += 1
            if isinstance(argument, int) and argument > stored + MAX_MEMO_GAP:
                raise RefusedError(f"memo number {argument}")


def replace_stand_ins(value: Any, budget: list[int], depth: int = 0) -> Any:
    """Replace stand-ins by their values. A value that refers to itself over and over exceeds its `budget`."""
    budget[0] -= len(value) if isinstance(value, str | bytes) else 1
    if depth > MAX_DEPTH or budget[0] < 0:
        raise RefusedError("containers nested too deeply, or repeated too often")
    if isinstance(value, ArrayStandIn):
        if value.value is None:
            raise RefusedError("an array without content")
        budget[0] -= value.value.nbytes
        return value.value
    if isinstance(value, list | tuple):
        return type(value)(replace_stand_ins(item, budget, depth + 1) for item in value)
    if isinstance(value, dict):
        return {
            replace_stand_ins(key, budget, depth + 1): replace_stand_ins(item, budget, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, str | bytes | int | float | bool | np.ndarray | np.generic | None):
        return value
    raise RefusedError(f"an object of type {type(value).__name__}")
