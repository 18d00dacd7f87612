"""The guard of a service: who may ask."""

import hmac
from http import HTTPStatus

from starlette.types import Scope

from lenext.serving.answers import Answer, Head, RefusedError
from lenext.serving.settings import ServiceSettings
from lenext.web.headers import LOCAL_NAMES, is_cross_site, is_local

HEALTH = ("/v2/health/live", "/v2/health/ready")
OPEN = ("/", "/docs", "/openapi.json", *HEALTH)
"""What needs no key: it says nothing about the models."""


class Guard:
    """The rules of a service: its key, the name it is asked by, and the sites whose pages may ask."""

    def __init__(self, settings: ServiceSettings) -> None:
        """Keep the settings.

        Args:
            settings: The key, the address and the origins.
        """
        self.settings = settings

    def admit(self, scope: Scope, headers: Head) -> None:
        """Raise RefusedError for a request that must not be answered."""
        settings = self.settings
        path = scope["path"]
        if settings.is_local and not settings.api_key and path not in HEALTH and not is_local(scope):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"this service answers only as one of {', '.join(LOCAL_NAMES)}; a proxy must ask it by such a name, "
                "or the service have a key (--api-key-file)",
            )
        is_navigation = scope["method"] == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if is_of_other_site(headers) and not is_navigation and not self.allowed_origin(headers):
            raise RefusedError(HTTPStatus.FORBIDDEN, "the request comes from a page of another site; see --origin")
        is_open = path in OPEN or path.startswith("/static/")
        is_asking = scope["method"] == "OPTIONS" and self.give_leave(headers) is not None
        if settings.api_key and not is_open and not is_asking:
            kind, _, token = headers.get("authorization", "").partition(" ")
            sent_key = token.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
            if not hmac.compare_digest(sent_key.encode(errors="replace"), settings.api_key.encode()):
                raise RefusedError(
                    HTTPStatus.UNAUTHORIZED, "the API key is missing or wrong", {"www-authenticate": "Bearer"}
                )

    def allowed_origin(self, headers: Head) -> str:
        """Return the origin of another site's page that may ask; empty for none."""
        if not self.settings.origins:
            return ""
        origin = headers.get("origin", "")
        return origin if origin in self.settings.origins or "*" in self.settings.origins else ""

    def give_leave(self, headers: Head) -> Answer | None:
        """Return the answer to a browser that asks whether a page of another site may ask; None where it may not."""
        if not self.allowed_origin(headers) or "access-control-request-method" not in headers:
            return None
        allowed = {
            "access-control-allow-methods": "GET, POST", "access-control-max-age": "600",
            "access-control-allow-headers": "authorization, content-type, x-api-key, x-request-timeout",
        }  # fmt: skip
        return Answer(HTTPStatus.NO_CONTENT, b"", headers=allowed)


def is_of_other_site(headers: Head) -> bool:
    """Return whether a browser asks for a page of another site; it says so itself but over plain HTTP."""
    if "sec-fetch-site" in headers or "origin" not in headers:
        return is_cross_site(headers)
    return headers["origin"].partition("://")[2] != headers.get("host")
