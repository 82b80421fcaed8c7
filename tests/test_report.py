import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from limner.reports.draw import curves, grid
from limner.reports.html import Bitmap, Code, Row, Section, Svg, Table, Text, render

VOID = {"meta", "img", "br", "link"}
NASTY = '<script>alert("x")</script> & \'quoted\' "too"'


class Page(HTMLParser):
    """Collects elements and text; every element must be closed in its turn."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.texts = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def sheet():
    return grid(torch.arange(4 * 3 * 16).remainder(256).to(torch.uint8).reshape(4, 3, 4, 4))


@pytest.fixture(scope="module")
def plot():
    return curves({NASTY: [(0, 2.0), (1, 1.0)]}, xlabel="steps", ylabel="nats")


@pytest.fixture
def full(sheet, plot):
    sections = [
        Section(NASTY, [Text(f"{NASTY}\n\nsecond"), Code(f"limner train {NASTY}")]),
        Section("Samples", [Bitmap(sheet, NASTY, NASTY), Row([Svg(plot, NASTY), Svg(plot, "b", alt="seen")])]),
        Section("Likelihood", [Table([NASTY, "n"], [[NASTY, 1], ["b", None]], notes=[NASTY])]),
    ]
    return render(NASTY, sections, subtitle=NASTY)


def test_page_is_whole_and_needs_nothing_from_outside(full):
    page = Page(full)
    assert page.all("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert "prefers-color-scheme: dark" in full
    assert not page.all("link")
    assert "://" not in full
    assert "url(" not in re.search(r"<style>.*?</style>", full, re.DOTALL)[0]
    for _, attrs in page.elements:
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,"))


def test_everything_is_escaped(full):
    page = Page(full)
    assert not page.all("script")
    assert "<script" not in full
    text = "".join(page.texts)
    # title, h1, subtitle, contents, heading, text, code, image, plot, header, cell, note
    assert text.count(NASTY) == 12
    assert [img["alt"] for img in page.all("img")] == [NASTY]
    assert [svg["aria-label"] for svg in page.all("svg")] == [NASTY, "seen"]


def test_ids_are_different_and_links_lead_to_them(full):
    page = Page(full)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [a["href"] for a in page.all("a")]
    assert len(links) == len(set(links)) == 3
    assert {link[1:] for link in links} <= set(ids)
    for section in page.all("section"):
        assert section["aria-labelledby"] in ids


def test_image_comes_back_pixel_by_pixel(sheet):
    photo = Image.fromarray(np.asarray(sheet)).convert("RGBA")
    page = Page(render("t", [Section("s", [Bitmap(sheet, "c", "a"), Bitmap(photo, "d", "b", pixelated=False)])]))
    for img, original in zip(page.all("img"), (sheet, photo), strict=True):
        data = base64.b64decode(img["src"].removeprefix("data:image/png;base64,"), validate=True)
        with Image.open(io.BytesIO(data)) as back:
            assert back.mode == original.mode
            assert np.array_equal(np.asarray(back), np.asarray(original))
        assert (img["width"], img["height"]) == tuple(map(str, original.size))
    assert [img.get("class") for img in page.all("img")] == ["pixels", None]
    assert len(page.all("figcaption")) == 2


def test_table_cells_and_sides():
    table = Table(
        ["model", "nats", "bound", "n"],
        [["3", "≤ 91.30 ± 0.20", "lower", 12345], ["GAN", None, "none", 7]],
        numeric=(1, 3),
    )
    page = Page(render("t", [Section("s", [table])]))
    for text in ("≤ 91.30 ± 0.20", "12,345", "–"):
        assert text in page.texts
    assert [th.get("scope") for th in page.all("th")] == ["col"] * 4 + ["row"] * 2
    assert [th.get("class") for th in page.all("th")] == [None, "number", None, "number", None, None]
    assert [td.get("class") for td in page.all("td")] == ["number", None, "number"] * 2


def test_same_content_same_page(sheet):
    def page():
        plot = curves({"a": [(0, 2.0), (1, 1.0)]}, xlabel="x", ylabel="y")
        return render("t", [Section("s", [Bitmap(sheet, "c", "a"), Svg(plot, "p")])])

    assert page() == page()
