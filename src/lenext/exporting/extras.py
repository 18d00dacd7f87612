"""Packages that export, its engines and the studio need, and that are installed as extras."""

from importlib import import_module, metadata
from importlib.util import find_spec
from types import ModuleType

from lenext.foundation.errors import ConfigurationError

EXTRAS = {"onnx": "onnx", "onnxscript": "onnx", "onnxruntime": "onnx", "openvino": "openvino"}
"""The extra of lenext that installs a package, for those that only one needs."""
SERVE = ("httptools", "prometheus_client", "python_multipart", "starlette", "uvicorn")
STUDIO = ("anyio", "starlette", "uvicorn")
"""The packages of the extras of the same names."""


def version_of(package: str) -> str:
    """Return the version of a package, whatever distribution it came with."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return str(getattr(import_module(package), "__version__", "unknown"))


def is_installed(package: str) -> bool:
    """Return whether a package can be imported."""
    return find_spec(package) is not None


def require(package: str, purpose: str, extra: str = "") -> ModuleType:
    """Return an imported package.

    Args:
        package: Its name.
        purpose: What needs it, for the message.
        extra: The extra that installs it, where several do.

    Raises:
        ConfigurationError: It is not installed; the message names the extra.
    """
    if not is_installed(package):
        raise ConfigurationError(
            f'{purpose}: {package} is not installed; pip install "lenext[{extra or EXTRAS[package]}]"'
        )
    try:
        return import_module(package)
    except ImportError as error:
        raise ConfigurationError(f"{purpose}: {package} cannot be imported: {error}") from error
