"""User-defined networks: a class in a Python file, given as `FILE.py:Class`."""

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
    """Return whether a network's name is `FILE.py:Class`, or a file whose class was forgotten."""
    return ".py:" in name or name.endswith(".py")


def check_network_argument(network: object) -> None:
    """Raise ConfigurationError for a network that is neither text nor a module, such as a module's class."""
    if not isinstance(network, str | nn.Module):
        kind = f"the class {network.__name__}" if isinstance(network, type) else f"a {type(network).__name__}"
        raise ConfigurationError(f"network: {kind}; give a name, FILE.py:Class, or a module such as Net(...)")


def create_user_network(
    name: str, options: Mapping[str, object], data_options: Mapping[str, int] | None = None
) -> nn.Module:
    """Run a Python file, as `import` would run it, and build the network that it defines.

    Args:
        name: `FILE.py:Class`.
        options: Options of the constructor; text is read as Python would read it.
        data_options: `in_channels`, `num_classes` and `image_size`, passed on where the constructor names them.

    Raises:
        ConfigurationError: The file, the class or an option is missing, or the file's code fails.
    """
    file, _, class_name = name.rpartition(":") if ".py:" in name else (name, "", "")
    path = expand_path(file)
    if not path.is_file():
        raise ConfigurationError(f"{file}: there is no such file for the network {name}")
    module = run_file(path)
    classes = {key: value for key, value in vars(module).items() if is_network_class(value, module.__name__)}
    if class_name not in classes:
        if not class_name:
            raise ConfigurationError(f"{file}: which class is the network? Give {file}:{next(iter(classes), 'Class')}")
        raise ConfigurationError(f"{file}: {unknown_name('network class', class_name, classes)}")
    parameters = inspect.signature(classes[class_name]).parameters
    takes_any = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    for key in options:
        if key not in parameters and not takes_any:
            raise ConfigurationError(f"{name}: {unknown_name('option', key, parameters)}")
    arguments: dict[str, object] = {
        key: value for key, value in (data_options or {}).items() if key in parameters or takes_any
    }
    arguments |= {key: parse_literal(value) for key, value in options.items()}
    try:
        return classes[class_name](**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ConfigurationError(f"{name}: cannot be built: {type(error).__name__}: {error}") from error


def run_file(path: Path) -> ModuleType:
    """Import a file by its path; it can import from its own folder."""
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


def locate_error(error: BaseException) -> str:
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


def parse_literal(value: object) -> object:
    """Return text from the command line as Python would read it, or as text; anything else unchanged."""
    try:
        return ast.literal_eval(value) if isinstance(value, str) else value
    except (ValueError, SyntaxError):
        return value


def is_network_class(value: object, module: str) -> bool:
    return inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == module
