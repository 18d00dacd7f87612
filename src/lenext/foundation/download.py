"""Download published files over HTTPS: from one of several mirrors, resumed where they stopped, checked before use."""

import hashlib
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException
from pathlib import Path
from typing import IO

from lenext.foundation.errors import DownloadError
from lenext.foundation.files import make_folder, sha256
from lenext.foundation.locks import lock_file
from lenext.foundation.progress import byte_bar

CHUNK_BYTES = 1 << 16
TIMEOUT_SECONDS = 30.0  # without a byte


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Attributes:
        name: Its name in the data folder.
        size: Its size in bytes; 0 if that is not known.
        sha256: Its SHA-256 in hexadecimal, or the first digits of it.
        urls: Its addresses, in the order in which they are tried.
    """

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


class HttpsRedirectHandler(urllib.request.HTTPRedirectHandler):
    """A handler that follows redirections, but only to HTTPS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def require_https(url: str) -> None:
    """Raise DownloadError for an address that is not https."""
    if not url.lower().startswith("https://"):
        raise DownloadError(f"{url}: only https addresses are fetched; give an https:// address or a local file")


def open_https(url: str, start: int = 0) -> IO[bytes]:
    """Open an address for reading and ask the server to begin at byte `start`."""
    require_https(url)
    headers = {"User-Agent": "lenext", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    context = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(context, HttpsRedirectHandler)
    response: IO[bytes] = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
    return response


def fetch(file: RemoteFile, folder: Path, *, offline: bool = False) -> Path:
    """Return the path of a published file in `folder`, downloading it if it is missing.

    A partial download stays in `NAME.part` and is resumed; only a file of the right size and SHA-256 takes its name.

    Raises:
        DownloadError: No mirror delivers the file, or it is missing and `offline` is set.
    """
    path = folder / file.name
    if path.is_file() and file.size in (0, path.stat().st_size):
        return path
    if offline:
        raise DownloadError(
            f"{path} is missing and --offline forbids downloading it; place the file there or leave --offline out"
        )
    make_folder(folder)
    failures = []
    with lock_file(
        path.with_name(f"{path.name}.lock"), folder, wait=True, keep=False
    ):  # of several processes one loads
        if path.is_file() and file.size in (0, path.stat().st_size):
            return path
        for url in file.urls:
            try:
                return fetch_from(url, file, path)
            except (DownloadError, urllib.error.URLError, HTTPException, OSError) as error:
                failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise DownloadError(
        f"cannot download {file.name}: {'; '.join(failures)}. Try again later, or place the file at {path}"
    )


def fetch_from(url: str, file: RemoteFile, path: Path) -> Path:
    """Download a file from one address; resume `NAME.part` if there is one."""
    part = path.with_name(path.name + ".part")
    received = part.stat().st_size if part.exists() else 0
    if file.size and received >= file.size:
        part.unlink()
        received = 0
    with open_https(url, received) as response:
        resumed = getattr(response, "status", 200) == 206 and received > 0
        headers: Message = getattr(response, "headers", Message())
        if headers.get_content_type() == "text/html":
            raise DownloadError("the server answered with a web page instead of the file")
        if not resumed:
            received = 0
        size = file.size or received + int(headers.get("Content-Length") or 0)
        with (
            part.open("ab" if resumed else "wb") as out,
            byte_bar(f"downloading {file.name}", size, received) as advance,
        ):
            while chunk := response.read(CHUNK_BYTES):
                received += len(chunk)
                if received > size > 0:
                    break
                out.write(chunk)
                advance(len(chunk))
    if received < size:
        raise DownloadError(f"cut off after {received:,} of {size:,} bytes; the next try resumes there")
    if received > size > 0 or not sha256(part).startswith(file.sha256):
        part.unlink()
        if resumed:  # the beginning may have come from another server, and be wrong
            return fetch_from(url, file, path)
        raise DownloadError("the file is not the published one (its size or SHA-256 differs); nothing was kept")
    part.replace(path)
    return path


def fetch_unpublished(url: str, folder: Path, suffixes: Sequence[str], limit: int, *, offline: bool = False) -> Path:
    """Return the path of a file from a user's https address, downloading it once into `folder`.

    Args:
        url: The address; the file is named by its hash.
        folder: Where the file is kept.
        suffixes: Suffixes of the kinds of file that are accepted; the first one is the default.
        limit: The most bytes that the file may have.
        offline: Whether downloading is forbidden.

    Raises:
        DownloadError: The file cannot be downloaded, is larger than the limit, or is missing and `offline` is set.
    """
    require_https(url)
    suffix = next((suffix for suffix in suffixes if url.split("?")[0].lower().endswith(suffix)), suffixes[0])
    path = folder / (hashlib.sha256(url.encode()).hexdigest()[:16] + suffix)
    if path.is_file():
        return path
    if offline:
        raise DownloadError(f"{url} was not downloaded before and --offline forbids it; leave --offline out once")
    make_folder(folder)
    part = path.with_name(path.name + ".part")
    try:
        with open_https(url) as response, part.open("wb") as out:
            headers = getattr(response, "headers", Message())
            if headers.get_content_type() == "text/html":
                raise DownloadError(f"{url}: the server answered with a web page instead of a table")
            length = headers.get("Content-Length")
            while chunk := response.read(CHUNK_BYTES):
                out.write(chunk)
                if out.tell() > limit:
                    raise DownloadError(f"{url}: larger than {limit:,} bytes; download it yourself and give its path")
            if length is not None and out.tell() < int(length):
                raise DownloadError(f"{url}: cut off after {out.tell():,} of {int(length):,} bytes; try again")
        part.replace(path)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise DownloadError(f"cannot download {url}: {getattr(error, 'reason', None) or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path
