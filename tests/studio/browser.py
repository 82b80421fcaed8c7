"""What the end-to-end tests of the page share: a studio of its own, a window that watches, what axe finds."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AXE = Path(__file__).resolve().parent / "vendor" / "axe.min.js"
CHROMIUM = os.environ.get("LIMNER_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-gpu"]
SHOTS = os.environ.get("LIMNER_SCREENSHOTS")  # a folder: then each page is kept there, four times
MEASURED = bool(os.environ.get("LIMNER_MEASURE"))  # on a quiet machine: then times are held to their limits
TRAINED = 90_000  # milliseconds within which a short training ends on a busy machine
REPOSITORY = Path(__file__).resolve().parents[2]


def missing() -> str:
    """What has to be installed before the page can be tested; empty where nothing has."""
    for package, name in (
        ("fastapi", '"limner[studio]"'),
        ("uvicorn", '"limner[studio]"'),
        ("playwright", "playwright"),
    ):
        if importlib.util.find_spec(package) is None:
            return f"pip install {name}"
    return "" if CHROMIUM else "apt-get install chromium, or name a Chromium in LIMNER_CHROMIUM"


@contextmanager
def studio(runs: Path) -> Iterator[str]:
    """``limner studio`` over a folder of runs, as a process of its own; gives its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "limner", "studio", "--no-browser", "--runs", str(runs), "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    log = runs.parent / "studio.log"
    with log.open("w") as out:
        child = subprocess.Popen(command, cwd=runs.parent, env=environment, stdout=out, stderr=subprocess.STDOUT)
        try:
            address = f"http://127.0.0.1:{port}"
            _wait(address, child, log)
            yield address
        finally:
            child.terminate()
            try:
                child.wait(timeout=30)
            except subprocess.TimeoutExpired:
                child.kill()
                raise


def _wait(address: str, child: subprocess.Popen[bytes], log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if child.poll() is not None:
            raise RuntimeError(f"the studio ended at once: {log.read_text()}")
        try:
            with urllib.request.urlopen(f"{address}/api/studio", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"the studio does not answer: {log.read_text()}")


class Window:
    """A browser's page that keeps what it said, what it asked for, and what it heard.

    Attributes:
        page: Playwright's.
        faults: Errors and warnings of the console, exceptions, answers of 400 and above.
        foreign: Addresses of other hosts that were asked for.
        rows: How many rows of images came over WebSockets.
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page, self.address = page, address
        self.faults: list[str] = []
        self.foreign: list[str] = []
        self.rows = 0
        page.on("console", lambda m: self.faults.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("response", lambda r: self.faults.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda request: self._asked(request.url))
        page.on("websocket", self._line)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.address, self.address.replace("http", "ws", 1), "data:", "blob:")):
            self.foreign.append(url)

    def _line(self, line: Any) -> None:
        self._asked(line.url)
        line.on("framereceived", lambda frame: self._heard(frame))

    def _heard(self, frame: str | bytes) -> None:
        self.rows += isinstance(frame, str) and '"row"' in frame

    def go(self, where: str) -> None:
        """Open a page by what follows the ``#``."""
        self.page.goto(f"{self.address}/#/{where}")

    def pixels(self, selector: str) -> str:
        """What a canvas shows, as text that can be compared."""
        return self.page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")

    def settled(self, name: str) -> None:
        """The page as it is now: without a fault of accessibility in light and dark; kept as images where asked."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        some = ", {runOnly: ['color-contrast', 'scrollable-region-focusable']}"
        for theme, rules, width in (("light", "", 1280), ("dark", some, 390)):
            self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            self.page.set_viewport_size({"width": width, "height": 800})
            self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            found = self.page.evaluate(f"axe.run(document{rules}).then(found => found.violations)")
            told = [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]
            assert not told, f"{name}, {theme}: " + "\n".join(told)
            self._narrow_and_wide(name, theme)
        self.page.emulate_media(color_scheme="light")

    def _narrow_and_wide(self, name: str, theme: str) -> None:
        """Nothing is wider than a phone's screen."""
        for width, height in ((390, 844), (1280, 800)):
            if not SHOTS and (theme == "dark" or width == 1280):
                continue
            self.page.set_viewport_size({"width": width, "height": height})
            self.page.evaluate("scrollTo(0, 0)")
            self.page.wait_for_timeout(150)  # charts and canvases take their new width
            asked = self.page.locator("dialog[open]").count() > 0  # a question darkens what is seen, not the whole page
            wider = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{name} is {wider} pixels wider than {width}"
            if SHOTS:
                Path(SHOTS).mkdir(parents=True, exist_ok=True)
                self.page.screenshot(path=f"{SHOTS}/{name}-{width}-{theme}.png", full_page=not asked)
        self.page.set_viewport_size({"width": 1280, "height": 800})
