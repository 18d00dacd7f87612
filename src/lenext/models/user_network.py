"""A network of a person's own: a class in a Python file, given as `FILE.py:Class`."""

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

from torch import nn

from lenext.foundation.errors import ConfigurationError, unknown_name
from lenext.foundation.files import expand_path

MODULE_PREFIX = "lenext_own_"


def is_user_network(name: str) -> bool:
    """Whether a network's name is `FILE.py:Class`, or a file whose class was forgotten."""
    return ".py:" in name or name.endswith(".py")


def create_user_network(name: str, options: Mapping[str, object], **follows: int) -> nn.Module:
    """Build `FILE.py:Class` with the options, and with those of `follows` (in_channels, num_classes, image_size) that
    its constructor names.

    The file is run, as `import` would run it. Raises ConfigurationError where it or the class is missing or fails.
    """
    file, _, wanted = name.rpartition(":") if ".py:" in name else (name, "", "")
    path = expand_path(file)
    if not path.is_file():
        raise ConfigurationError(f"{file}: there is no such file for the network {name}")
    module = run_file(path)
    classes = {key: value for key, value in vars(module).items() if is_network(value, module.__name__)}
    if wanted not in classes:
        if not wanted:
            raise ConfigurationError(f"{file}: which class is the network? Give {file}:{next(iter(classes), 'Class')}")
        raise ConfigurationError(f"{file}: {unknown_name('network class', wanted, classes)}")
    taken = inspect.signature(classes[wanted]).parameters
    anything = any(one.kind == one.VAR_KEYWORD for one in taken.values())
    for key in options:
        if key not in taken and not anything:
            raise ConfigurationError(f"{name}: {unknown_name('option', key, taken)}")
    given = {key: value for key, value in follows.items() if key in taken or anything}
    given |= {key: from_text(value) for key, value in options.items()}  # type: ignore[misc]
    try:
        return classes[wanted](**given)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigurationError(f"{name}: cannot be built: {type(error).__name__}: {error}") from error


def run_file(path: Path) -> ModuleType:
    """Import a file by its path, with its folder to import from."""
    name = f"{MODULE_PREFIX}{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # as the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigurationError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module


def culprit(error: BaseException) -> str:
    """Return the place in a user's file where an error comes from, in words; empty where it comes from elsewhere."""
    frames = [
        frame
        for frame, _ in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(MODULE_PREFIX)
    ]
    if not frames:
        return ""
    code = frames[-1].f_code
    lines = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame is frames[-1]]
    return f"{code.co_filename}, line {lines[-1]}, in {code.co_name}"


def from_text(value: object) -> object:
    """A value typed on the command line, as Python would read it; else as text."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def is_network(value: object, module: str) -> bool:
    return inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == module
