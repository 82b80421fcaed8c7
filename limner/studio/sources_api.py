"""Routes: where images come from, named sets and uploads."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from starlette.datastructures import UploadFile

from limner.data import SOURCES, named_here
from limner.data.decoding import EXTENSIONS
from limner.errors import LimnerError, counted, reason_of
from limner.files import write_text
from limner.models.contracts import describe_images
from limner.studio.limits import Refused
from limner.studio.studio import Studio

__all__ = ["routes", "source_path"]

ARCHIVES = (".zip", ".npz", ".npy")
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
PREFIX = "upload:"
PIECE = 1 << 20
TO_READ = 300  # seconds that an upload may take to be looked at


def source_path(studio: Studio, source: str) -> str:
    """What ``limner.train`` calls a source of the studio's: a known name, or the place of an upload.

    Raises:
        LimnerError: There is none.
    """
    if source in SOURCES:
        return source
    if source.startswith(PREFIX):
        return str(_kept(studio, source.removeprefix(PREFIX))["path"])
    raise LimnerError(f"there is no source {source[:50]!r}: choose {', '.join(SOURCES)}, or upload images")


def _kept(studio: Studio, name: str) -> dict[str, Any]:
    """What is known of an upload, ``path`` among it."""
    folder = studio.uploads / name
    if not NAME.fullmatch(name) or not (folder / "source.json").is_file():
        raise Refused(404, f"there is no upload {name[:50]!r}")
    facts = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    return facts | {"path": (folder / Path(facts["file"]).name).absolute()}


def routes(studio: Studio) -> APIRouter:
    """The routes."""
    api = APIRouter(prefix="/api/sources", tags=["sources"])

    @api.get("", summary="Sets that go by a name, and uploads.")
    def get_sources() -> list[dict[str, Any]]:
        here = named_here()
        named = [{"id": n, "kind": "named", "about": about, "here": here[n]} for n, about in SOURCES.items()]
        folder = studio.uploads
        names = [f.name for f in folder.iterdir() if NAME.fullmatch(f.name)] if folder.is_dir() else []
        found = [_described(name, _kept(studio, name)) for name in names if (folder / name / "source.json").is_file()]
        return named + sorted(found, key=lambda f: -f["when"])

    @api.post("", status_code=201, summary="Upload a .zip, .npz or .npy, or images.")
    async def post_source(request: Request) -> dict[str, Any]:
        if studio.uploading.locked():
            raise Refused(503, "two uploads are being read already: try again in a moment", 5)
        limits = {"max_files": studio.limits.upload_files, "max_fields": 4, "max_part_size": 1 << 16}
        async with studio.uploading, request.form(**limits) as form:
            files = [f for f in form.getlist("files") if isinstance(f, UploadFile)]
            name = form.get("name")
            return await _take(studio, files, name if isinstance(name, str) else None)

    @api.get("/{source}/preview.png", summary="A contact sheet of a source.")
    async def get_preview(source: str) -> Response:
        if source.startswith(PREFIX):
            _kept(studio, name := source.removeprefix(PREFIX))
            return FileResponse(studio.uploads / name / "sheet.png", media_type="image/png")
        if source not in SOURCES:
            raise Refused(404, f"there is no source {source[:50]!r}")
        if (sheet := studio.previews.used(source)) is None:
            if not named_here()[source]:
                raise Refused(404, f"{source} is not on this machine yet: training downloads it first")
            path = studio.uploads / f".{source}-{secrets.token_hex(4)}.png"
            await run_in_threadpool(studio.uploads.mkdir, parents=True, exist_ok=True)
            try:
                await _look(studio, source, path)
                sheet = path.read_bytes()
            finally:
                path.unlink(missing_ok=True)
            studio.previews.keep(source, sheet)
        return Response(sheet, media_type="image/png")

    @api.delete("/{source}", status_code=204, summary="Remove an upload.")
    def delete_source(source: str) -> None:
        if not source.startswith(PREFIX):
            raise LimnerError("only uploads can be removed")
        _kept(studio, name := source.removeprefix(PREFIX))
        shutil.rmtree(studio.uploads / name, ignore_errors=True)

    return api


async def _take(studio: Studio, files: Sequence[UploadFile], wanted: str | None) -> dict[str, Any]:
    """Keep the files of an upload, if limner can read them."""
    if not files:
        raise LimnerError("an upload needs files: one .zip, .npz or .npy, or images")
    suffixes = [Path(file.filename or "").suffix.lower() for file in files]
    archive = suffixes[0] in ARCHIVES
    if (archive and len(files) > 1) or (not archive and not {*suffixes} <= EXTENSIONS):
        odd = next((s for s in suffixes if s not in EXTENSIONS), "")
        raise LimnerError(f"an upload is one .zip, .npz or .npy, or image files alone, not {odd or 'several'} too")
    size = sum(file.size or 0 for file in files)
    if size > studio.limits.upload_bytes:
        raise Refused(413, f"an upload may have {studio.limits.upload_bytes:,} bytes, this has {size:,}")
    await run_in_threadpool(_check_room, studio, size)
    stem = wanted or (Path(files[0].filename or "").stem if archive or len(files) == 1 else "images")
    short = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:40] or "images"
    folder = studio.uploads / f".new-{secrets.token_hex(8)}"
    try:
        path = await run_in_threadpool(
            _write, folder, files, suffixes, f"{short}{suffixes[0]}" if archive else "images"
        )
        job = await _look(studio, str(path.absolute()), folder / "sheet.png")
        facts = job | {"file": path.name, "bytes": size, "when": time.time()}
        name = await run_in_threadpool(_name, studio, folder, short, facts)
    finally:
        await run_in_threadpool(shutil.rmtree, folder, True)
    return _described(name, facts) | {"notes": facts["notes"]}


def _check_room(studio: Studio, size: int) -> None:
    folder = studio.uploads
    kept = [f for f in folder.iterdir() if NAME.fullmatch(f.name)] if folder.is_dir() else []
    used = sum(path.stat().st_size for f in kept for path in f.rglob("*") if path.is_file())
    if len(kept) >= studio.limits.uploads or used + size > studio.limits.kept_bytes:
        raise Refused(
            413, f"the studio keeps {studio.limits.uploads} uploads and {studio.limits.kept_bytes:,} bytes: remove one"
        )


def _write(folder: Path, files: Sequence[UploadFile], suffixes: Sequence[str], name: str) -> Path:
    """Write the files below names of our own; gives the source."""
    try:
        folder.mkdir(parents=True)
        path = folder / name
        if Path(name).suffix:
            targets = [path]
        else:
            path.mkdir()
            targets = [path / f"{i:05d}{suffix}" for i, suffix in enumerate(suffixes)]
        for file, target in zip(files, targets, strict=True):
            with target.open("xb") as out:
                shutil.copyfileobj(file.file, out, PIECE)
    except OSError as error:
        raise LimnerError(f"the upload cannot be kept: {reason_of(error)}") from error
    return path


def _name(studio: Studio, folder: Path, short: str, facts: Mapping[str, Any]) -> str:
    """Give an upload that was read its name."""
    write_text(folder / "source.json", json.dumps(facts))
    for number in range(1, 1000):
        name = short if number == 1 else f"{short}-{number}"
        if not (studio.uploads / name).exists():
            folder.rename(studio.uploads / name)
            return name
    raise LimnerError(f"there are too many uploads called {short}: remove some")


async def _look(studio: Studio, source: str, sheet: Path) -> dict[str, Any]:
    """What a source is, as a process of its own finds; the contact sheet is written to ``sheet``."""
    job = studio.jobs.submit("look", "", {"source": source, "sheet": str(sheet.absolute())})
    try:
        await asyncio.wait_for(job.over.wait(), TO_READ)
    except asyncio.TimeoutError:
        raise LimnerError(f"reading this takes more than {TO_READ} seconds: make it smaller") from None
    finally:
        studio.jobs.stop(job)
    if job.state != "done" or not isinstance(job.result, dict):
        where = str(Path(source).parent)
        raise LimnerError((job.error or "reading the images was ended").replace(f"{where}/", ""))
    return job.result


def _described(name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    width, height = facts["size"]
    about = f"{counted(facts['images'], 'image')}, {describe_images((facts['channels'], height, width))}"
    known = {key: facts[key] for key in ("images", "size", "channels", "levels", "labels", "broken", "bytes", "when")}
    return {"id": f"{PREFIX}{name}", "kind": "upload", "about": about, "here": True, **known}
