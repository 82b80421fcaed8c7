"""The studio's page in a real browser: from an empty folder to samples, a walk, a painting, a comparison, a game."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from pathlib import Path
from statistics import NormalDist

import pytest
from PIL import Image

from tests.studio.browser import ARGUMENTS, CHROMIUM, MEASURED, SHOTS, TRAINED, Window, missing, studio

if reason := missing():  # said among the warnings too, where a quiet run shows it
    warnings.warn(f"the studio's page is not tested: {reason}", stacklevel=1)
    pytest.skip(reason, allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api")
visits = pytest.importorskip("tests.studio.visits")
expect = playwright.expect
QUICK = 30_000  # milliseconds that anything but a training may take on a busy machine
LONG = "0.5"  # minutes: images for the docs show what half a minute gives


def test_the_page(tmp_path):
    """One visit, in the order in which a person who comes for the first time would make it."""
    with (
        studio(tmp_path / "runs") as address,
        playwright.sync_playwright() as started,
        started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS) as browser,
        browser.new_context(viewport={"width": 1280, "height": 800}, accept_downloads=True) as context,
    ):
        context.set_default_timeout(QUICK)
        expect.set_options(timeout=QUICK)
        window = Window(context.new_page(), address)
        for visit in VISITS:
            try:
                visit(window, tmp_path)
            except Exception as error:  # what the console said tells more than what did not appear
                raise AssertionError(f"{visit.__name__}: {error}\nthe console said {window.faults}") from error
            assert window.faults == [], visit.__name__
        assert window.foreign == []


def begin(window: Window, folder: Path) -> None:
    """An empty studio offers the digits, and paints at once; the pad's normal distribution is one."""
    window.go("runs")
    expect(window.page.get_by_role("button", name="Teach it to write digits")).to_be_visible()
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    assert not MEASURED or window.page.evaluate(paint) < 1000
    window.settled("first")
    shares = [0.004, 0.02, 0.3, 0.5, 0.98, 0.9999]
    both = "({quantile, share}) => SHARES.map(p => [quantile(p), share(quantile(p))])".replace("SHARES", str(shares))
    asked = f"import('/static/parts/normal.js').then({both})"
    for p, (z, again) in zip(shares, window.page.evaluate(asked), strict=True):
        assert z == pytest.approx(NormalDist().inv_cdf(p), abs=1e-7)
        assert again == pytest.approx(p, abs=1e-9)


def start(window: Window, model: str, name: str, minutes: str) -> None:
    """Fill in the form and press Train."""
    window.go(f"runs/new?model={model}")
    page = window.page
    expect(page.get_by_label("Family")).to_have_value(model)
    page.get_by_label("Minutes").fill(minutes)
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page).to_have_url(re.compile(f"#/runs/{name}$"))


def upload(window: Window, folder: Path) -> None:
    """A zip of one's own images becomes something to learn from."""
    page = window.page
    window.go("runs/new")
    expect(page.get_by_label("Family")).to_be_visible()
    window.settled("new")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as zipped:
        for i in range(30):
            image = io.BytesIO()
            Image.new("L", (12, 12), 8 * i).save(image, "PNG")
            zipped.writestr(f"{'dark' if i < 15 else 'light'}/{i}.png", image.getvalue())
    mine = {"name": "shades.zip", "mimeType": "application/zip", "buffer": packed.getvalue()}
    page.get_by_label("Choose a zip of images").set_input_files(mine)
    expect(page.get_by_text("Taken: 30 images")).to_be_visible(timeout=TRAINED)
    expect(page.get_by_label("Learn from")).to_have_value(re.compile("^upload:"))


def train(window: Window, folder: Path) -> None:
    """One training is watched and stopped; two wait for it and go to their ends."""
    page = window.page
    start(window, "vae", "walker", "5")
    start(window, "patch-pixelcnn", "painter", LONG if SHOTS else "0.03")
    start(window, "gan", "players", LONG if SHOTS else "0.03")
    expect(page.get_by_text("Waits until the training before it is done")).to_be_visible()
    window.go("runs/walker")
    expect(page.get_by_role("progressbar")).to_be_visible(timeout=TRAINED)
    expect(page.get_by_text("images a second").first).to_be_visible(timeout=TRAINED)
    expect(page.locator("img.sheetlike")).to_be_visible(timeout=TRAINED)
    if SHOTS:
        page.wait_for_timeout(30_000)
        window.settled("training")
    page.get_by_role("button", name="Stop and keep it").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible(timeout=TRAINED)
    for name in ("painter", "players"):
        window.go(f"runs/{name}")
        expect(page.locator(".now .badge", has_text="finished")).to_be_visible(timeout=TRAINED)


def watch(window: Window, folder: Path) -> None:
    """The run's page shows what it drew and how it learned; the list shows all runs."""
    page = window.page
    window.go("runs/walker")
    expect(page.locator(".uplot canvas").first).to_be_visible()
    expect(page.locator("img.sheetlike")).to_have_js_property("complete", value=True)
    expect(page.get_by_role("link", name="Walk through what it can draw")).to_be_visible()
    window.settled("run")
    window.go("runs/players")
    expect(page.get_by_role("heading", name="The doctor says")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Losses of the two players: discriminator"))).to_be_visible()
    expect(page.locator(".now")).to_contain_text("none")
    window.settled("gan")
    window.go("runs")
    expect(page.locator("article.run")).to_have_count(3)
    expect(page.locator("article.run", has_text="walker")).to_contain_text("≤")
    window.settled("runs")


def delete(window: Window, folder: Path) -> None:
    """A run is deleted after a question, and gone."""
    page = window.page
    window.go("runs/walker")
    page.get_by_role("button", name="Delete …").click()
    page.get_by_role("button", name="Keep it").click()
    assert (folder / "runs" / "walker").is_dir()
    page.get_by_role("button", name="Delete …").click()
    window.settled("delete")
    page.get_by_role("button", name="Delete it for good").click()
    expect(page).to_have_url(re.compile("#/runs$"))
    expect(page.locator("article.run")).to_have_count(2)
    assert not (folder / "runs" / "walker").exists()


VISITS = (
    begin,
    upload,
    train,
    watch,
    *visits.ALL,
    delete,
)
