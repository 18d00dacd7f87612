"""Packages that export and its engines need, and that are installed as extras."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from lenext.foundation.errors import ConfigurationError

EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}
"""The extra of lenext that installs a package."""


def is_installed(package: str) -> bool:
    """Return whether a package can be imported."""
    return find_spec(package) is not None


def require(package: str, purpose: str) -> ModuleType:
    """Return an imported package.

    Raises:
        ConfigurationError: It is not installed; the message names the extra.
    """
    if not is_installed(package):
        raise ConfigurationError(f'{purpose}: {package} is not installed; pip install "lenext[{EXTRAS[package]}]"')
    return import_module(package)
