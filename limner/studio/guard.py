"""Who may ask the studio at all: checked before any route, of pages and of WebSockets.

A page of another site, open in the same browser, can send requests to 127.0.0.1; a name of its own that it points
there (DNS rebinding) would even let it read the answers. So the Host must be ours, the Origin of everything that
changes something must be our own page, and away from this machine a token must be known.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
import socket
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.studio.limits import Limits

__all__ = ["LOOPBACK", "Guard", "is_loopback"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
COOKIE = "limner_token"
HOST = re.compile(r"(\[[\da-fA-F:.]+\]|[\w.-]+)(?::\d{1,5})?", re.ASCII)
SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine can reach ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """The outermost layer of the application.

    Args:
        app: What is guarded.
        host: To which the studio is bound.
        token: That must be given; None where everybody on this machine may ask.
        limits: Of bodies.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, limits: Limits) -> None:
        self.app, self.host, self.token, self.limits = app, host, token, limits
        self.sockets = 0  # that are open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or let the application answer."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if (refusal := self._refusal(scope, headers)) is not None:
            await _refuse(scope, send, *refusal)
        elif (location := self._with_cookie(scope)) is not None:
            await _redirect(send, *location)
        elif scope["type"] == "websocket":
            await self._counted(scope, receive, send)
        else:
            await self._bounded(scope, headers, receive, send)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[int, str] | None:
        """Status and reason, where a request is not ours to answer."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 403, "this studio does not answer to that Host: open the address that it printed"
        changes = scope["type"] == "websocket" or scope["method"] not in SAFE
        for origin in headers.getlist("origin") if changes else []:
            if urlsplit(origin).scheme not in ("http", "https") or urlsplit(origin).netloc != hosts[0]:
                return 403, "a page of another origin may not use this studio"
        if scope["path"].startswith("/api/") and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return 403, "a page of another site may not use this studio"
        if self.token is not None and not self._knows_token(scope, headers):
            return (
                401,
                "a token is needed: open the address that the studio printed, or send Authorization: Bearer TOKEN",
            )
        return None

    def _is_ours(self, host: str) -> bool:
        if (found := HOST.fullmatch(host)) is None:
            return False
        name = found[1].strip("[]").lower()
        if name in (*LOOPBACK, self.host.lower()):
            return True
        if is_loopback(self.host):
            return False
        try:
            ipaddress.ip_address(name)  # an address is no name that somebody else could point here
        except ValueError:
            own = socket.gethostname().lower()
            return name in (own, f"{own}.local", socket.getfqdn().lower())
        return True

    def _knows_token(self, scope: Scope, headers: Headers) -> bool:
        given = [cookie_parser(text).get(COOKIE, "") for text in headers.getlist("cookie")]
        given += [text.removeprefix("Bearer ") for text in headers.getlist("authorization")]
        return self._among([*given, *_token_of_query(scope)])

    def _among(self, given: Iterable[str]) -> bool:
        wanted = (self.token or "").encode()
        return sum(hmac.compare_digest(one.encode(), wanted) for one in given) > 0  # all are compared

    def _with_cookie(self, scope: Scope) -> tuple[str, str] | None:
        """Where to go, and the cookie, when the page is opened with the token in its address."""
        if self.token is None or scope["type"] != "http" or not self._among(_token_of_query(scope)):
            return None
        return "/", f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Lax"

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application talk on a WebSocket, if not too many are open."""
        if self.sockets >= self.limits.sockets:
            await _refuse(scope, send, 503, "too many pages are open: close one", {"retry-after": "5"})
            return
        self.sockets += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.sockets -= 1

    async def _bounded(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Let the application answer, which reads no more than is allowed; its answers get the headers."""
        upload = scope["method"] == "POST" and scope["path"] == "/api/sources"
        most = self.limits.upload_bytes + (1 << 20) if upload else self.limits.body_bytes
        message = f"this is more than the {most:,} bytes that the studio takes at once"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > most:
            await _refuse(scope, send, 413, message)
            return
        read, refused = 0, False

        async def counted() -> Message:
            nonlocal read
            part = await receive()
            read += len(part.get("body", b""))
            return part if read <= most else {"type": "http.disconnect"}

        policy = _policy(headers["host"])

        async def with_headers(part: Message) -> None:
            nonlocal refused
            if read > most:  # whatever the application makes of it
                if not refused:
                    refused = True
                    await _refuse(scope, send, 413, message)
                return
            if part["type"] == "http.response.start":
                own = MutableHeaders(scope=part)
                for name, value in (HEADERS | {"content-security-policy": policy, "cache-control": "no-store"}).items():
                    own.setdefault(name, value)
            await send(part)

        try:
            await self.app(scope, counted, with_headers)
        except ClientDisconnect:
            if read <= most:
                raise
        if read > most and not refused:
            await _refuse(scope, send, 413, message)


def _token_of_query(scope: Scope) -> list[str]:
    if scope["type"] != "http" or scope["path"] != "/":
        return []
    return parse_qs(scope["query_string"].decode("latin-1")).get("token", [])


def _policy(host: str) -> str:
    """What the page may load: its own files, and images that it made."""
    return (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        f"connect-src 'self' ws://{host} wss://{host}; font-src 'self'; manifest-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    )


async def _refuse(
    scope: Scope, send: Send, status: int, message: str, more: Mapping[str, str] = MappingProxyType({})
) -> None:
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008, "reason": message})  # before it is accepted: HTTP 403
            return
    headers = {"content-type": "application/json", "cache-control": "no-store", **HEADERS, **more}
    if kind == "http.response":
        headers["connection"] = "close"  # what was not read of a body is not read
    pairs = [(k.encode(), v.encode()) for k, v in headers.items()]
    await send({"type": f"{kind}.start", "status": status, "headers": pairs})
    await send({"type": f"{kind}.body", "body": json.dumps({"error": message}).encode()})


async def _redirect(send: Send, location: str, cookie: str) -> None:
    pairs = [(b"location", location.encode()), (b"set-cookie", cookie.encode()), (b"cache-control", b"no-store")]
    pairs += [(k.encode(), v.encode()) for k, v in HEADERS.items()]
    await send({"type": "http.response.start", "status": 303, "headers": pairs})
    await send({"type": "http.response.body", "body": b""})
