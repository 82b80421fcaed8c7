"""``limner studio``: a server until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import secrets
import socket
import threading
import time
import webbrowser
from collections.abc import Callable

import uvicorn

from limner.errors import LimnerError, option, reason_of
from limner.studio.app import make_app
from limner.studio.guard import is_loopback
from limner.studio.limits import Limits
from limner.studio.studio import Studio

__all__ = ["PORTS", "bound", "serve"]

EVERYWHERE = ("0.0.0.0", "::")
PORTS = 20  # that are tried, from the one that is asked for on


def bound(host: str, port: int) -> socket.socket:
    """A socket at ``host`` and ``port``, or at the next port that is free.

    Raises:
        LimnerError: There is no such address here, or none of the ports is free.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise LimnerError(f"{option('host', host)}: there is no such address ({reason_of(error)})") from error
    for tried in range(port, min(port + PORTS, 65536) if port else 1):
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((address[0], tried, *address[2:]))
            listening.listen(128)
        except OSError as error:
            listening.close()
            if error.errno != errno.EADDRINUSE:
                raise LimnerError(
                    f"{option('host', host)}, {option('port', tried)}: cannot be listened at ({reason_of(error)})"
                ) from error
        else:
            return listening
    raise LimnerError(f"the ports {port} to {port + PORTS - 1} are all in use: choose another {option('port')}")


def serve(
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    token: str | None = None,
    browser: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> None:
    """Serve the studio of the folder of runs until Ctrl-C or SIGTERM; trainings are saved then.

    Args:
        host: Address; any that other machines can reach demands a token.
        port: A busy one takes the next.
        token: In place of one that is made up; at least 16 characters.
        browser: Whether to open the page.
        say: Told where the page is.

    Raises:
        LimnerError: The address cannot be listened at, or the token is too short.
    """
    if token is not None and (len(token) < 16 or not token.isascii() or not token.isalnum()):
        raise LimnerError(f"{option('token')} is 16 letters and digits at least: leave it out, and one is made up")
    if token is None and not is_loopback(host):
        token = secrets.token_hex(24)
    listening = bound(host, port)
    chosen = listening.getsockname()[1]
    name = socket.gethostname() if host in EVERYWHERE else host
    shown = f"[{name}]" if ":" in name else name
    address = f"http://{shown}:{chosen}/" + ("" if token is None else f"?token={token}")
    limits = Limits()
    config = uvicorn.Config(
        make_app(Studio(limits, token, host, warm=True)),
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_max_size=limits.message_bytes,
        timeout_graceful_shutdown=5,
    )
    say(address)
    if browser:
        threading.Thread(target=_open, args=(address, listening.getsockname()), daemon=True).start()
    server = uvicorn.Server(config)
    with contextlib.closing(listening), contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[listening])


def _open(address: str, place: tuple[str, int]) -> None:
    """Open the page once the server answers."""
    for _ in range(100):
        time.sleep(0.1)
        with contextlib.suppress(OSError), socket.create_connection(place[:2], 1):
            break
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(address)
