"""A report in one HTML file: texts, images, plots and tables that need nothing from anywhere else.

Images travel inside the file as ``data:`` addresses, plots as inline SVG; there is no script and no outside
address. The page is light or dark as the reader's system is. Every text is escaped.
"""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

from PIL import Image

from limner.reports.grids import png_bytes
from limner.reports.plots import inline_svg

__all__ = ["Bitmap", "Block", "Cell", "Code", "Row", "Section", "Svg", "Table", "Text", "render"]

Cell = str | int | None


@dataclass(frozen=True)
class Text:
    """Plain text; an empty line starts a new paragraph."""

    text: str


@dataclass(frozen=True)
class Code:
    """Text to copy or to compare letter by letter: a command, a configuration."""

    text: str


@dataclass(frozen=True)
class Bitmap:
    """An image with its caption.

    Attributes:
        image: Any mode that PNG can hold.
        caption: Shown below.
        alt: What is to be seen, for those who cannot see it.
        pixelated: Keep the pixels square where the page enlarges them; false for photographs.
    """

    image: Image.Image
    caption: str
    alt: str
    pixelated: bool = True


@dataclass(frozen=True)
class Svg:
    """A plot, as ``draw.curves`` makes it; ``alt`` stands in for it where it cannot be seen."""

    data: bytes
    caption: str
    alt: str = ""


@dataclass(frozen=True)
class Table:
    """Rows below a header; the first column names its row.

    Attributes:
        header: Names of the columns.
        rows: One cell a column. None is a dash: it does not apply. An integer is grouped.
        notes: Shown below, one line each.
        numeric: Columns to set flush right, not the first.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()
    numeric: Collection[int] = ()


@dataclass(frozen=True)
class Row:
    """Blocks side by side where the window is wide enough: samples of several models."""

    blocks: Sequence[Bitmap | Svg]


Block = Text | Code | Bitmap | Svg | Table | Row


@dataclass(frozen=True)
class Section:
    """A heading, other than those of the page's other sections, and what stands below it."""

    title: str
    blocks: Sequence[Block]


def render(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """The page, with a table of contents. The same content gives the same text."""
    plots = itertools.count()  # gives every plot of the page its own ids
    links, body = [], []
    for section in sections:
        name = re.sub(r"[^a-z0-9]+", "-", section.title.lower()).strip("-")
        heading = escape(section.title)
        blocks = "\n".join(_block(block, plots) for block in section.blocks)
        links.append(f'<li><a href="#{name}">{heading}</a></li>')
        body.append(f'<section aria-labelledby="{name}">\n<h2 id="{name}">{heading}</h2>\n{blocks}\n</section>')
    here = resources.files(__package__)
    return Template((here / "page.html").read_text("utf-8")).substitute(
        title=escape(title),
        style=(here / "page.css").read_text("utf-8"),
        subtitle=f"<p>{escape(subtitle)}</p>" if subtitle else "",
        links="".join(links),
        body="\n".join(body),
    )


def _block(block: Block, plots: Iterator[int]) -> str:
    match block:
        case Text(text):
            return "".join(f"<p>{escape(part.strip())}</p>" for part in re.split(r"\n\s*\n", text.strip()))
        case Code(text):
            return f'<pre tabindex="0"><code>{escape(text.strip())}</code></pre>'
        case Bitmap(image, caption, alt, pixelated):
            data = base64.b64encode(png_bytes(image)).decode("ascii")
            kind = ' class="pixels"' if pixelated else ""
            size = f'width="{image.width}" height="{image.height}"'
            return _figure(f'<img{kind} src="data:image/png;base64,{data}" {size} alt="{escape(alt)}">', caption)
        case Svg(svg, caption, alt):
            return _figure(inline_svg(svg, f"plot{next(plots)}", alt or caption), caption)
        case Table():
            return _table(block)
        case Row(blocks):
            return f'<div class="row">{"".join(_block(one, plots) for one in blocks)}</div>'


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    kinds = [' class="number"' if j in table.numeric else "" for j in range(len(table.header))]
    columns = [(kind, escape(name)) for kind, name in zip(kinds, table.header, strict=True)]
    head = "".join(f'<th scope="col"{kind}>{name}</th>' for kind, name in columns)
    body = ""
    for row in table.rows:
        first, *others = (escape(_cell(cell)) for cell in row)
        cells = "".join(
            f'<td{kind} data-column="{name}">{text}</td>'
            for (kind, name), text in zip(columns[1:], others, strict=True)
        )
        body += f'<tr><th scope="row">{first}</th>{cells}</tr>\n'
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>{notes}"


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)  # a damaged count may be a fraction
