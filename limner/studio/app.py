"""The application: routes, errors as one line, the page's files."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from limner.errors import LimnerError
from limner.runs import runs_folder
from limner.studio import (
    completing_api,
    judging_api,
    latents_api,
    learning_api,
    runs_api,
    sampling_api,
    sources_api,
)
from limner.studio.describing import clean
from limner.studio.guard import Guard
from limner.studio.limits import Refused
from limner.studio.sockets import accepted
from limner.studio.studio import Studio
from limner.studio.watching import watch
from limner.version import version

__all__ = ["make_app"]

STATIC = Path(__file__).parent / "static"
WRONG = "something went wrong in the studio; its terminal says what"
SOCKETS = [
    {
        "path": "/api/events",
        "tag": "jobs",
        "summary": "All that happens: jobs, and what is new of runs.",
        "sends": "nothing",
        "answers": '{"type":"jobs"} at first, then {"type":"job"} and {"type":"run","what":"metrics"|"sheet"|...}',
    },
    {
        "path": "/api/runs/{run}/sample",
        "tag": "sample",
        "summary": "Samples, row by row where the model draws so.",
        "sends": '{"n":16,"seed":0,"label":null,"means":false}, once; closing the socket cancels',
        "answers": 'begin, row…, images, done; a message with "bytes" is followed by so many, RGBA',
    },
    {
        "path": "/api/runs/{run}/walk",
        "tag": "walk",
        "summary": "The images of latents, as fast as they come; only the latest is answered.",
        "sends": '{"id":7,"z":[0.1,-1.2],"label":null}, any number of times; or z of up to 64',
        "answers": "begin, then for each 4 bytes of the id (little endian) and the images, RGBA",
    },
    {
        "path": "/api/runs/{run}/complete",
        "tag": "paint",
        "summary": "An image completed several ways.",
        "sends": "the body of POST /api/runs/{run}/complete, once; closing the socket cancels",
        "answers": "begin, row…, images, done, as of samples; done says what is exact",
    },
]


class Files(StaticFiles):
    """The page's files; asked for anew each time, which costs a 304."""

    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        """With a header."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "no-cache"
        return response


def make_app(studio: Studio | None = None) -> ASGIApp:
    """The application of a studio, guarded; by default of this machine only."""
    own = studio or Studio()

    @contextlib.asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // own.limits.draws))  # several draw at a time
        watching = asyncio.create_task(watch(own.hub))
        if own.warm:
            await own.jobs.warm()
        try:
            yield
        finally:
            watching.cancel()
            await own.jobs.end()
            own.slow.close()
            own.quick.close()

    app = FastAPI(
        title="limner studio",
        version=version(),
        summary="Train, sample, walk, paint and judge, in JSON.",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=living,
    )
    _say_errors(app)
    _add_general(app, own)
    for part in (runs_api, sources_api, sampling_api, latents_api, completing_api, judging_api, learning_api):
        app.include_router(part.routes(own))
    app.mount("/static", Files(directory=STATIC, check_dir=False))
    described = app.openapi

    def with_sockets() -> dict[str, Any]:
        return described() | {"x-websockets": SOCKETS}

    app.openapi = with_sockets  # type: ignore[method-assign]
    return Guard(app, own.host, own.token, own.limits)


def _say_errors(app: FastAPI) -> None:
    """Every error as one line of JSON."""

    @app.exception_handler(LimnerError)
    async def refused(request: Request, error: LimnerError) -> JSONResponse:
        status = error.status if isinstance(error, Refused) else 400
        after = error.retry_after if isinstance(error, Refused) else None
        headers = {} if after is None else {"retry-after": str(after)}
        return JSONResponse({"error": " ".join(str(error).split())}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return JSONResponse({"error": f"{where}: {first['msg']}" if where else str(first["msg"])}, 400)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        said = {404: "there is nothing here", 405: "this cannot be done here"}.get(error.status_code)
        return JSONResponse({"error": said or str(error.detail)}, error.status_code, dict(error.headers or {}))

    @app.exception_handler(MemoryError)
    async def full(request: Request, error: MemoryError) -> JSONResponse:
        return JSONResponse({"error": "there is not enough memory for this now"}, 503, {"retry-after": "10"})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": WRONG}, 500)


def _add_general(app: FastAPI, studio: Studio) -> None:
    """The page, what the studio is, and all that happens."""

    @app.get("/", include_in_schema=False)
    async def get_page() -> FileResponse:
        return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def get_icon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg", media_type="image/svg+xml")

    @app.get("/api/studio", tags=["runs"], summary="What this studio is, and its limits.")
    async def get_studio() -> dict[str, Any]:
        names = ("upload_bytes", "upload_files", "sample_n", "complete_n", "jobs_waiting")
        limits = {name: getattr(studio.limits, name) for name in names}
        facts: dict[str, Any] = {"version": version(), "runs_folder": runs_folder().name, "cores": os.cpu_count() or 1}
        return facts | {"token": studio.token is not None, "limits": limits}

    @app.websocket("/api/events")
    async def events(socket: WebSocket) -> None:
        async with accepted(socket):
            with studio.hub.listening() as queue:
                await socket.send_json({"type": "jobs", "jobs": clean(studio.jobs.all())})
                leaving = asyncio.create_task(socket.receive())
                try:
                    while True:
                        coming = asyncio.create_task(queue.get())
                        await asyncio.wait({coming, leaving}, return_when=asyncio.FIRST_COMPLETED)
                        if leaving.done() or (event := coming.result()) is None:
                            coming.cancel()
                            return
                        await socket.send_json(clean(event))
                finally:
                    leaving.cancel()
