"""The guard of the studio: who may ask, what may be sent, and which headers an answer has.

Anyone who can reach the port would be able to start trainings and read files. So a request needs the token, must be
addressed to this machine by its own name (a page elsewhere may have let its own name lead here), must not come
from a page of another origin, and must not be large.
"""

import hmac
import json
from http import HTTPStatus
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lenext.web.headers import HEADERS, LOCAL_NAMES, is_cross_site, is_local, with_headers

MAX_BODY_BYTES = 20 << 20  # of a photograph
METHODS = ("GET", "HEAD", "POST")
PAGE_POLICY = (
    "sandbox allow-scripts allow-downloads; default-src 'none'; img-src data: blob:; media-src blob:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
"""The content security policy of reports and explorers: they may come from anywhere, so they have no origin."""
LOCKED = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>lenext studio</title></head>
<body><h1>lenext studio</h1><p>Open the address that <code>lenext studio</code> has printed: it ends in a token.</p>
</body></html>"""


LEADING_IN = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>lenext studio</title>
<link rel="icon" href="data:,"><meta http-equiv="refresh" content="0; url=/"></head><body></body></html>"""


class Guard:
    """Middleware that refuses what the studio's own page does not ask for."""

    def __init__(self, application: ASGIApp, token: str, cookie: str, policy: str) -> None:
        """Set what is asked for.

        Args:
            application: What answers the requests that pass.
            token: The secret of this studio.
            cookie: The name of the cookie that holds it.
            policy: The content security policy of answers that set none.
        """
        self.application, self.token, self.cookie, self.policy = application, token, cookie, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.application(scope, receive, send)
            return
        if scope["type"] != "http":  # no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        send = with_headers(send, {**HEADERS, "content-security-policy": self.policy})
        if refusal := refuse_origin(scope, headers):
            await answer(send, HTTPStatus.FORBIDDEN, refusal)
        elif scope["method"] not in METHODS:
            await answer(send, HTTPStatus.METHOD_NOT_ALLOWED, f"the methods are {', '.join(METHODS)}")
        elif scope["path"] == "/" and self.is_token(parse_token(scope)):
            await self.let_in(send)
        elif not self.is_token(self.sent_token(headers)):
            await answer(send, HTTPStatus.UNAUTHORIZED, LOCKED if scope["path"] == "/" else "the token is missing")
        elif (length := headers.get("content-length", "0")) and not length.isdecimal():
            await answer(send, HTTPStatus.BAD_REQUEST, "content-length: not a number")
        elif int(length) > MAX_BODY_BYTES:
            await answer(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_BODY_BYTES:,} bytes are read")
        else:
            await self.application(scope, limit_body(receive), send)

    def is_token(self, text: str) -> bool:
        """Return whether a text is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(text.encode(errors="replace"), self.token.encode())

    def sent_token(self, headers: Headers) -> str:
        """Return the token that a request has, in its cookie or as a bearer."""
        kind, _, text = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return text.strip()
        pairs = (pair.partition("=") for pair in headers.get("cookie", "").split(";"))  # others' may be malformed
        return next((value.strip() for name, _, value in pairs if name.strip() == self.cookie), "")

    async def let_in(self, send: Send) -> None:
        """Keep the token in a cookie, and lead to the page without it in the address.

        The page leads there itself: after a redirection from a page of another site no cookie would be sent.
        """
        cookie = f"{self.cookie}={self.token}; HttpOnly; SameSite=Strict; Path=/"
        headers = [(b"content-type", b"text/html; charset=utf-8"), (b"set-cookie", cookie.encode())]
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": headers})
        await send({"type": "http.response.body", "body": LEADING_IN.encode()})


def refuse_origin(scope: Scope, headers: Headers) -> str:
    """Return why a request is refused by where it comes from and whom it asks; empty when it is not."""
    if not is_local(scope):
        return f"the studio answers only as one of {', '.join(LOCAL_NAMES)}"
    origin = headers.get("origin")
    if origin is not None and origin != f"{scope['scheme']}://{headers['host']}":
        return "the request comes from a page of another origin"
    is_navigation = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
    if is_cross_site(headers) and not is_navigation:
        return "the request comes from a page of another site"
    return ""


def parse_token(scope: Scope) -> str:
    """Return the token in the address; empty without one."""
    return parse_qs(scope["query_string"].decode(errors="replace")).get("token", [""])[0]


def limit_body(receive: Receive) -> Receive:
    """Return `receive` that ends a body that is too long, whatever its length was said to be."""
    received = 0

    async def receive_limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        return message if received <= MAX_BODY_BYTES else {"type": "http.disconnect"}

    return receive_limited


async def answer(send: Send, status: HTTPStatus, text: str) -> None:
    """Answer with a page, or with an error as JSON."""
    is_page = text.startswith("<")
    body = (text if is_page else json.dumps({"error": text})).encode()
    kind = b"text/html; charset=utf-8" if is_page else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
