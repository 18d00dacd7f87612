"""A network of a person's own: a class in a Python file, given as `FILE.py:Class`."""

import importlib.util
import inspect
from pathlib import Path

from torch import nn

from lenext.foundation.errors import ConfigurationError, unknown


def is_own(name: str) -> bool:
    """Whether a network's name is `FILE.py:Class`, or a file whose class was forgotten."""
    return ".py:" in name or name.endswith(".py")


def create_own(name: str, **given: int) -> nn.Module:
    """Build `FILE.py:Class` with those of `given` (in_channels, num_classes, image_size) that its constructor names.

    The file is run, as `import` would run it. Raises ConfigurationError where it or the class is missing or fails.
    """
    file, _, wanted = name.rpartition(":") if ".py:" in name else (name, "", "")
    path = Path(file).expanduser()
    if not path.is_file():
        raise ConfigurationError(f"{file}: there is no such file for the network {name}")
    spec = importlib.util.spec_from_file_location(f"lenext_own_{path.stem}", path)
    assert spec is not None  # as the name ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{file}: cannot be imported: {type(error).__name__}: {error}") from error
    classes = {key: value for key, value in vars(module).items() if is_network(value, module.__name__)}
    if wanted not in classes:
        if not wanted:
            raise ConfigurationError(f"{file}: which class is the network? Give {file}:{next(iter(classes), 'Class')}")
        raise ConfigurationError(f"{file}: {unknown('network class', wanted, classes)}")
    taken = inspect.signature(classes[wanted]).parameters
    try:
        return classes[wanted](**{key: value for key, value in given.items() if key in taken})
    except Exception as error:
        raise ConfigurationError(f"{name}: cannot be built: {type(error).__name__}: {error}") from error


def is_network(value: object, module: str) -> bool:
    return inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__ == module
