"""Published files fetched over HTTPS: from one of several mirrors, resumed where they stopped, checked before use."""

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
from lenext.foundation.progress import byte_bar

CHUNK = 1 << 16
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class RemoteFile:
    """A published file: its name, size in bytes (0: not known), SHA-256 or how it begins, and its addresses."""

    name: str
    size: int
    sha256: str
    urls: tuple[str, ...]


class OnlyHttps(urllib.request.HTTPRedirectHandler):
    """Follows redirections, but never out of HTTPS."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        require_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def require_https(url: str) -> None:
    """Refuse any address that is not https."""
    if not url.lower().startswith("https://"):
        raise DownloadError(f"{url}: only https addresses are fetched; give an https:// address or a local file")


def open_https(url: str, start: int = 0) -> IO[bytes]:
    """A response to read from, asked to begin at byte `start`."""
    require_https(url)
    headers = {"User-Agent": "lenext", "Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    context = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(context, OnlyHttps)
    response: IO[bytes] = opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    return response


def fetch(file: RemoteFile, folder: Path, *, offline: bool = False) -> Path:
    """The file in `folder`, downloaded if it is not there yet.

    What has come so far stays in `NAME.part` and is gone on from; only a file of the right size and SHA-256 takes its
    name. Raises DownloadError when no mirror gives it, or when `offline` and it is not there.
    """
    path = folder / file.name
    if path.is_file() and file.size in (0, path.stat().st_size):
        return path
    if offline:
        raise DownloadError(
            f"{path} is not there and --offline forbids to fetch it; place it there or leave --offline out"
        )
    make_folder(folder)
    failures = []
    for url in file.urls:
        try:
            return fetch_from(url, file, path)
        except (DownloadError, urllib.error.URLError, HTTPException, OSError) as error:
            failures.append(f"{url}: {getattr(error, 'reason', None) or error}")
    raise DownloadError(
        f"cannot fetch {file.name}: {'; '.join(failures)}. Try again later, or place the file at {path}"
    )


def fetch_from(url: str, file: RemoteFile, path: Path) -> Path:
    """Fetch from one address; resumes `NAME.part`."""
    part = path.with_name(path.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    if file.size and have >= file.size:
        part.unlink()
        have = 0
    with open_https(url, have) as response:
        resumed = getattr(response, "status", 200) == 206 and have > 0
        headers: Message = getattr(response, "headers", Message())
        if headers.get_content_type() == "text/html":
            raise DownloadError("the server answered with a web page instead of the file")
        if not resumed:
            have = 0
        size = file.size or have + int(headers.get("Content-Length") or 0)
        with part.open("ab" if resumed else "wb") as out, byte_bar(f"fetching {file.name}", size, have) as advance:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                if have > size > 0:
                    break
                out.write(chunk)
                advance(len(chunk))
    if have < size:
        raise DownloadError(f"cut off after {have:,} of {size:,} bytes; the next try goes on from there")
    if have > size > 0 or not sha256(part).startswith(file.sha256):
        part.unlink()
        if resumed:  # the beginning may have been another server's rubbish
            return fetch_from(url, file, path)
        raise DownloadError("the file is not the published one (its size or SHA-256 differs); nothing was kept")
    part.replace(path)
    return path


def fetch_unpublished(url: str, folder: Path, suffixes: Sequence[str], limit: int, *, offline: bool = False) -> Path:
    """A user's own https address, kept in `folder` under a name made from the address; at most `limit` bytes."""
    require_https(url)
    suffix = next((suffix for suffix in suffixes if url.split("?")[0].lower().endswith(suffix)), suffixes[0])
    path = folder / (hashlib.sha256(url.encode()).hexdigest()[:16] + suffix)
    if path.is_file():
        return path
    if offline:
        raise DownloadError(f"{url} was not fetched before and --offline forbids it; leave --offline out once")
    make_folder(folder)
    part = path.with_name(path.name + ".part")
    try:
        with open_https(url) as response, part.open("wb") as out:
            headers = getattr(response, "headers", Message())
            if headers.get_content_type() == "text/html":
                raise DownloadError(f"{url}: the server answered with a web page instead of a table")
            promised = headers.get("Content-Length")
            while chunk := response.read(CHUNK):
                out.write(chunk)
                if out.tell() > limit:
                    raise DownloadError(f"{url}: larger than {limit:,} bytes; fetch it by hand and give its path")
            if promised is not None and out.tell() < int(promised):
                raise DownloadError(f"{url}: cut off after {out.tell():,} of {int(promised):,} bytes; try again")
        part.replace(path)
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise DownloadError(f"cannot fetch {url}: {getattr(error, 'reason', None) or error}") from error
    finally:
        part.unlink(missing_ok=True)
    return path
