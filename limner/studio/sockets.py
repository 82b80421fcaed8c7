"""WebSockets: what they have in common, and drawings that are watched while they go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from limner.errors import LimnerError
from limner.studio.drawing import Cancelled, Stop
from limner.studio.limits import Refused
from limner.studio.studio import Studio

__all__ = ["Emit", "accepted", "error_message", "received", "stated", "watched"]

M = TypeVar("M", bound=BaseModel)
Emit = Callable[..., None]
"""``emit({...}, b"...")``: send a message, and bytes that belong to it; from any thread."""

log = logging.getLogger("uvicorn.error")


def stated(error: ValidationError) -> str:
    """The first thing that is wrong with a body, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body")
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def error_message(error: BaseException) -> dict[str, Any]:
    """An error as a message."""
    if isinstance(error, Refused):
        more = {} if error.retry_after is None else {"retry_after": error.retry_after}
        return {"type": "error", "status": error.status, "error": str(error), **more}
    if isinstance(error, LimnerError):
        return {"type": "error", "status": 400, "error": " ".join(str(error).split())}
    log.error("the studio failed", exc_info=error)
    return {"type": "error", "status": 500, "error": "something went wrong in the studio; its terminal says what"}


@contextlib.asynccontextmanager
async def accepted(socket: WebSocket) -> AsyncIterator[None]:
    """Accept a socket, and close it at the end; errors are said on it."""
    await socket.accept()
    try:
        yield
    except WebSocketDisconnect:
        return
    except Exception as error:  # noqa: BLE001 - whatever it is, the page hears one line
        with contextlib.suppress(Exception):
            await socket.send_json(error_message(error))
    finally:
        with contextlib.suppress(Exception):
            await socket.close()


async def received(socket: WebSocket, kind: type[M]) -> M:
    """The next message.

    Raises:
        LimnerError: It is none of that ``kind``.
    """
    try:
        return kind.model_validate(json.loads(await socket.receive_text()))
    except ValidationError as error:
        raise LimnerError(stated(error)) from error
    except (KeyError, ValueError, RecursionError) as error:
        raise LimnerError("a message is one JSON object, as text") from error


async def watched(socket: WebSocket, studio: Studio, draw: Callable[[Emit], None]) -> None:
    """Let ``draw`` work in a thread and send what it emits; ended when the page leaves or says another word.

    Raises:
        LimnerError: As of ``draw``; or too much is drawn already.
    """
    loop, stop = asyncio.get_running_loop(), Stop()
    queue: asyncio.Queue[tuple[dict[str, Any], bytes | None] | None] = asyncio.Queue()

    def emit(message: dict[str, Any], data: bytes | None = None) -> None:
        stop.check()
        said = message if data is None else message | {"bytes": len(data)}
        loop.call_soon_threadsafe(queue.put_nowait, (said, data))

    async def work() -> None:
        try:
            await studio.slow.run(draw, emit, stop=stop)
        finally:
            queue.put_nowait(None)

    async def listen() -> None:
        await socket.receive()  # nothing is expected: the page left
        stop.ask()

    working, listening = asyncio.create_task(work()), asyncio.create_task(listen())
    try:
        while (item := await queue.get()) is not None:
            await socket.send_json(item[0])
            if item[1] is not None:
                await socket.send_bytes(item[1])
        with contextlib.suppress(Cancelled):
            await working
    finally:
        stop.ask()
        listening.cancel()
        with contextlib.suppress(Exception, asyncio.CancelledError):
            await working
