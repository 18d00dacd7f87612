"""Headers: those that every answer has, and what those of a request say about where it comes from."""

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from starlette.types import Message, Scope, Send

LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")
HEADERS: Mapping[str, str] = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def with_headers(send: Send, added: Mapping[str, str]) -> Send:
    """Return `send` with headers that every answer has, unless it sets them itself."""
    encoded = [(key.encode(), value.encode()) for key, value in added.items()]

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [*message["headers"], *(each for each in encoded if each[0] not in present)]
        await send(message)

    return send_with_headers


def page_policy(script_hashes: tuple[str, ...] = ()) -> str:
    """Return the content security policy of a page whose scripts and styles are files of the same server.

    Args:
        script_hashes: SHA-256 in base64 of the scripts that are written into the page.
    """
    inline = "".join(f" 'sha256-{each}'" for each in script_hashes)
    return (
        f"default-src 'none'; script-src 'self'{inline}; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def is_local(scope: Scope) -> bool:
    """Return whether a request is addressed to this machine by its own name; a page may let its name lead here."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    return len(hosts) == 1 and host_name(hosts[0].decode("latin-1")) in LOCAL_NAMES


def is_cross_site(headers: Mapping[str, str]) -> bool:
    """Return whether a browser sends a request for a page of another site or origin."""
    return headers.get("sec-fetch-site") in ("cross-site", "same-site")


@lru_cache(maxsize=64)
def host_name(host: str) -> str:
    """Return the name in a Host header, without its port; empty for a malformed one."""
    try:
        parts = urlsplit(f"//{host}")
        return (parts.hostname or "") if parts.netloc == host and not parts.username and parts.port is not False else ""
    except ValueError:
        return ""
