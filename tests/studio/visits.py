"""What a visitor does on each page of the studio that works with trained models; see test_page.py."""

from __future__ import annotations

import math
import re
import statistics
from pathlib import Path

from playwright.sync_api import expect

from tests.studio.browser import MEASURED, TRAINED, Window

__all__ = ["ALL"]


def walk(window: Window, folder: Path) -> None:
    """The image follows the pointer, the keys and the sliders; two images have a way between them."""
    page = window.page
    window.go("walk/walker")
    pad = page.get_by_role("application", name="Pad of two latents")
    expect(pad).to_be_visible()
    seen = set()
    box = pad.bounding_box()
    for share in (0.1, 0.4, 0.9):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + share * box["height"])
        seen.add(shown_at_rest(window))
    assert len(seen) == 3
    pad.focus()
    place = page.locator(".pad .here").get_attribute("style")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".pad .here")).not_to_have_attribute("style", place)
    before = shown_at_rest(window)
    page.get_by_label("z1").press("Home")
    assert shown_at_rest(window) != before
    page.get_by_role("button", name="Show the way").click()
    expect(page.get_by_role("img", name="Step 10 of 10")).to_be_visible()
    page.get_by_role("button", name="Add up").click()
    expect(page.get_by_role("img", name=re.compile("changed$"))).to_have_count(6)
    own = page.request.get(f"{window.address}/api/runs/walker/images/test/3.png").body()
    page.get_by_label("Choose an image").set_input_files({"name": "3.png", "mimeType": "image/png", "buffer": own})
    expect(page.get_by_role("img", name="What the model makes of it")).to_be_visible()
    window.settled("walk")
    follow(window)


def follow(window: Window) -> None:
    """How long an image takes to follow the pointer: from the question to the pixels, in the browser."""
    page = window.page
    box = page.get_by_role("application", name="Pad of two latents").bounding_box()
    page.evaluate("performance.clearMeasures()")
    for i in range(200 if MEASURED else 20):
        x, y = 0.5 + 0.4 * math.cos(i / 30), 0.5 + 0.4 * math.sin(i / 15)
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_timeout(16)
    took = page.evaluate("performance.getEntriesByName('limner-walk').map(one => one.duration)")
    median, most = statistics.median(took), statistics.quantiles(took, n=20)[-1]
    print(f"the pad: {len(took)} images, median {median:.1f} ms, 95th percentile {most:.1f} ms")
    assert len(took) > 10
    assert not MEASURED or (median <= 30 and most <= 80)


def shown_at_rest(window: Window) -> str:
    """The image of the walk once the last question is answered."""
    asked = window.page.locator("#walk-image").get_attribute("data-z")
    expect(window.page.locator("#walk-image")).to_have_attribute("data-shown", asked)
    return window.pixels("#walk-image")


def sample(window: Window, folder: Path) -> None:
    """Samples come row by row; the same seed gives the same ones, and they can be saved."""
    page = window.page
    window.rows = 0
    window.go("sample/painter")
    expect(page.get_by_role("link", name="Save the sheet as PNG")).to_be_visible()
    assert window.rows >= 4
    expect(page.locator("ul.sheet canvas")).to_have_count(16)
    window.settled("sample")
    page.get_by_label("How many").fill("5")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Draw", exact=True).click()
    expect(page.get_by_text("5 images in")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the sheet as PNG").click()
    download.value.save_as(folder / "sheet.png")
    (folder / "first.txt").write_text(window.pixels("ul.sheet canvas"))


def restore(window: Window, folder: Path) -> None:
    """A saved PNG that is dropped on another run's page brings back run, seed and number: the same images."""
    page = window.page
    window.go("sample/walker")
    expect(page.get_by_role("link", name="Save the sheet as PNG")).to_be_visible()
    expect(page.get_by_label("Seed")).to_have_value("0")
    image = list((folder / "sheet.png").read_bytes())
    page.locator(".drop").evaluate(
        """(drop, bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "sheet.png", {type: "image/png"}));
            drop.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
        }""",
        image,
    )
    expect(page).to_have_url(re.compile("#/sample/painter"))
    expect(page.get_by_label("Seed")).to_have_value("7")
    expect(page.get_by_text("5 images in")).to_be_visible()
    assert window.pixels("ul.sheet canvas") == (folder / "first.txt").read_text()


def paint(window: Window, folder: Path) -> None:
    """What is drawn is kept, what is erased is completed in several ways, and it is said what is exact."""
    page = window.page
    window.go("paint/painter")
    board = page.get_by_role("application", name=re.compile("32 missing"))
    expect(board).to_be_visible()
    page.get_by_role("button", name="Draw", exact=True).click()
    box = page.locator("canvas.board").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 20, steps=8)
    page.mouse.up()
    page.get_by_role("button", name="Complete it").click()
    expect(page.get_by_text("6 completions in")).to_be_visible()
    expect(page.locator(".honest")).to_contain_text("Exact")
    ways = page.locator("ul.ways canvas").evaluate_all("all => all.map(canvas => canvas.toDataURL())")
    assert len(ways) == 6
    assert len(set(ways)) > 1
    top = "canvas => [...canvas.getContext('2d').getImageData(0, 0, 8, 1).data].filter((_, i) => i % 4 == 0)"
    kept = page.locator("ul.ways canvas").first.evaluate(top)
    assert sum(value == 255 for value in kept) >= 5  # the white line
    page.get_by_role("button", name="middle").click()
    page.get_by_role("button", name="Complete it").click()
    expect(page.locator(".honest")).to_contain_text("Approximated")
    window.settled("paint")
    page.get_by_role("button", name="nothing").click()
    expect(page.get_by_role("button", name="Complete it")).to_be_disabled()
    expect(page.get_by_text("nothing is missing yet")).to_be_visible()


def judge(window: Window, folder: Path) -> None:
    """Likelihoods are measured from the page and compared, each with what it is."""
    page = window.page
    window.go("judge?run=walker&run=painter")
    for name in ("walker", "painter"):
        row = page.locator("tbody tr", has_text=name)
        expect(row).to_contain_text("not measured")
        row.get_by_role("button").click()
    for name, kind in (("walker", "bound"), ("painter", "exact")):
        expect(page.locator("tbody tr", has_text=name)).to_contain_text(kind, timeout=TRAINED)
        expect(page.locator("tbody tr", has_text=name)).to_contain_text("±")
    expect(page.locator(".whiskers .row")).to_have_count(2)
    expect(page.locator(".side img")).to_have_count(24)
    window.settled("judge")


def learn_exact(window: Window, folder: Path) -> None:
    """An image is drawn value by value, one of them decided by hand."""
    page = window.page
    window.go("learn/exact/painter")
    expect(page.locator("math").first).to_be_visible()
    expect(page.get_by_text("0 of 64 drawn")).to_be_visible()
    page.get_by_role("button", name="Draw this value").click()
    expect(page.get_by_text("1 of 64 drawn")).to_be_visible()
    page.get_by_role("button", name="Level 12,").click()
    expect(page.get_by_text("2 of 64 drawn")).to_be_visible()
    page.get_by_role("button", name="A row", exact=True).click()
    expect(page.get_by_text("10 of 64 drawn")).to_be_visible()
    window.settled("learn-exact")
    page.get_by_role("button", name="The rest").click()
    expect(page.get_by_text("64 of 64 drawn")).to_be_visible()
    expect(page.get_by_role("button", name="Draw this value")).to_be_disabled()


def learn_vae(window: Window, folder: Path) -> None:
    """A VAE's sampling in three steps, and the bound of an image in its two parts."""
    page = window.page
    window.go("learn/vae/walker")
    for step in ("Draw z", "Compute μ and σ", "Draw x"):
        page.get_by_role("button", name=step).click()
    expect(page.get_by_role("img", name="The image drawn from μ and σ")).to_be_visible()
    page.get_by_role("button", name="Encode it").click()
    expect(page.get_by_text("Together")).to_be_visible()
    window.settled("learn-vae")
    window.go("learn/autoencoder")
    expect(page.get_by_role("button", name="Train an autoencoder on digits")).to_be_visible()
    window.settled("learn-autoencoder")


def play(window: Window, folder: Path) -> None:
    """The two players move when they are told to."""
    page = window.page
    window.go("learn/gan")
    expect(page.locator("canvas.plane")).to_be_visible()
    before = window.pixels("canvas.plane")
    page.get_by_role("button", name="Discriminator's move").click()
    expect(page.get_by_text("1 of the discriminator")).to_be_visible()
    page.get_by_role("button", name="Both, 100 times").click()
    expect(page.get_by_text("101 of the discriminator")).to_be_visible()
    expect(page.get_by_text("100 of the generator")).to_be_visible()
    assert window.pixels("canvas.plane") != before
    window.settled("learn-gan")


def api(window: Window, folder: Path) -> None:
    """The page about the API names its routes."""
    window.go("api")
    expect(window.page.locator("summary", has_text="/api/runs/{run}").first).to_be_visible()
    window.page.locator("summary", has_text="/api/runs").nth(1).click()
    window.settled("api")


ALL = (walk, sample, restore, paint, judge, learn_exact, learn_vae, play, api)
