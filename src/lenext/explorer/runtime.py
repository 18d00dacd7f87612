"""onnxruntime-web, which computes large networks in a page: fetched once, checked, and written into the page."""

import base64
import gzip
import tarfile
from pathlib import Path

from lenext.foundation.download import RemoteFile, fetch
from lenext.foundation.errors import DownloadError

PACKAGE = RemoteFile(
    "onnxruntime-web-1.30.0.tgz",
    33_106_585,
    "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
    ("https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",),
)
"""MIT licence, of Microsoft."""
FOLDER = "onnxruntime-web"  # in the data folder
PARTS = {
    "script": "package/dist/ort.wasm.bundle.min.mjs",
    "program": "package/dist/ort-wasm-simd-threaded.wasm",
}


def load_runtime(data_dir: Path, *, offline: bool) -> dict[str, str]:
    """Return the parts of the runtime, compressed and as text, by name; the package is downloaded where it is missing.

    Raises:
        DownloadError: It cannot be had, or is not what it should be.
    """
    path = fetch(PACKAGE, data_dir / FOLDER, offline=offline)
    try:
        with tarfile.open(path) as package:
            return {name: to_text(package, member) for name, member in PARTS.items()}
    except (OSError, KeyError, EOFError, tarfile.TarError) as error:
        raise DownloadError(f"{path}: not the package of onnxruntime-web; remove it ({error})") from error


def to_text(package: tarfile.TarFile, member: str) -> str:
    """Return a file of the package, compressed and in base64."""
    file = package.extractfile(member)
    if file is None:
        raise KeyError(f"{member} is no file")
    return base64.b64encode(gzip.compress(file.read(), 9, mtime=0)).decode()
