"""A report in one HTML file: texts, images, plots and tables that need nothing from anywhere else.

Images travel inside the file as ``data:`` addresses, plots as inline SVG; there is no script and no outside
address. The page is light or dark as the reader's system is. Every text is escaped.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from PIL import Image

from limner import files
from limner.errors import LimnerError
from limner.reports.draw import inline_svg, png_bytes

__all__ = ["Bitmap", "Block", "Code", "Row", "Section", "Svg", "Table", "Text", "render", "write"]

Cell = str | int | float | None


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
        rows: One cell a column. None is a dash: it does not apply. An integer is grouped, a float gets four
            significant digits; whoever wants more gives a string.
        caption: Shown above.
        notes: Shown below, one line each.
        numeric: Columns to set flush right; by default those in which every cell is a number (also
            ``"≤ 91.3 ± 0.2"`` or ``"12 min"``).
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    notes: Sequence[str] = ()
    numeric: Collection[int] | None = None


@dataclass(frozen=True)
class Row:
    """Blocks side by side where the window is wide enough: samples of several models."""

    blocks: Sequence[Bitmap | Svg | Text | Table]


Block = Text | Code | Bitmap | Svg | Table | Row


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    title: str
    blocks: Sequence[Block]


def render(title: str, sections: Sequence[Section], *, subtitle: str | None = None) -> str:
    """The page. The same content gives the same text; more than two sections get a table of contents.

    Raises:
        LimnerError: A row of a table has not one cell a column, or an SVG is not one that may be shown.
    """
    names = _anchors([section.title for section in sections])
    links = "".join(
        f'<li><a href="#{name}">{escape(section.title)}</a></li>' for name, section in zip(names, sections, strict=True)
    )
    contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>\n' if len(sections) > 2 else ""
    numbers = iter(range(10**9))  # gives every plot of the page its own ids
    body = "\n".join(
        f'<section aria-labelledby="{name}">\n<h2 id="{name}">{escape(section.title)}</h2>\n'
        + "\n".join(_block(block, numbers) for block in section.blocks)
        + "\n</section>"
        for name, section in zip(names, sections, strict=True)
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="generator" content="limner">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"<header><h1>{escape(title)}</h1>{f'<p>{escape(subtitle)}</p>' if subtitle else ''}</header>\n"
        f"{contents}<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def write(path: str | os.PathLike[str], html: str) -> None:
    """Write a page to ``path``, whole or not at all.

    Raises:
        LimnerError: The file cannot be written.
    """
    files.write_text(path, html)


def _block(block: Block, numbers: Iterator[int]) -> str:
    match block:
        case Text(text):
            return "".join(f"<p>{escape(part.strip())}</p>" for part in re.split(r"\n\s*\n", text.strip()))
        case Code(text):
            return f'<pre tabindex="0"><code>{escape(text.strip())}</code></pre>'
        case Bitmap():
            return _image(block)
        case Svg(data, caption, alt):
            svg = inline_svg(data, f"plot{next(numbers)}", alt or caption)
            return f"<figure>{svg}{_caption(caption)}</figure>"
        case Table():
            return _table(block)
        case Row(blocks):
            return f'<div class="row">{"".join(_block(one, numbers) for one in blocks)}</div>'


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _image(image: Bitmap) -> str:
    data = base64.b64encode(png_bytes(image.image)).decode("ascii")
    kind = ' class="pixels"' if image.pixelated else ""
    width, height = image.image.size
    return (
        f'<figure><img{kind} src="data:image/png;base64,{data}" width="{width}" height="{height}" '
        f'alt="{escape(image.alt)}">{_caption(image.caption)}</figure>'
    )


_NUMBER = re.compile(
    r"[≤≥<>≈~]?\s*[-+−]?[\d.,]*\d[\d.,]*(e[-+]?\d+)?(\s*±\s*[\d.,]+)?\s*(%|×|[a-zA-Zµ/]{1,9})?", re.IGNORECASE
)


def _table(table: Table) -> str:
    for row in table.rows:
        if len(row) != len(table.header):
            raise LimnerError(f"a table of {len(table.header)} columns has a row of {len(row)} cells: {row!r}")
    texts = [[_cell(cell) for cell in row] for row in table.rows]
    numeric = table.numeric
    if numeric is None:
        numeric = [
            j for j in range(1, len(table.header)) if all(row[j] == "–" or _NUMBER.fullmatch(row[j]) for row in texts)
        ]
    kinds = [' class="number"' if j in numeric else "" for j in range(len(table.header))]
    head = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for kind, name in zip(kinds, table.header, strict=True))
    body = ""
    for row in texts:
        cells = [
            f'<td{kind} data-column="{escape(name)}">{escape(text)}</td>'
            for kind, name, text in zip(kinds, table.header, row, strict=True)
        ]
        cells[0] = f'<th scope="row"{kinds[0]}>{escape(row[0])}</th>'
        body += f"<tr>{''.join(cells)}</tr>\n"
    caption = f"<caption>{escape(table.caption)}</caption>" if table.caption else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in table.notes)
    return f"<table>{caption}<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>{notes}"


def _cell(cell: Cell) -> str:
    match cell:
        case None:
            return "–"
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case float():
            return f"{cell:.4g}"
        case _:
            return str(cell)


def _anchors(titles: Sequence[str]) -> list[str]:
    """Readable, different ids."""
    names: list[str] = []
    for title in titles:
        name = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "section"
        names.append(name if name not in names else f"{name}-{len(names)}")
    return names


_STYLE = """
:root { --paper: #fff; --ink: #1d2025; --soft: #5b616b; --line: #dfe2e7; --wash: #f5f6f8; --link: #1f62a5; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #15171b; --ink: #e4e6ea; --soft: #a0a6b1; --line: #30343c; --wash: #1e2127;
    --link: #86b8ee; }
}
* { box-sizing: border-box; }
html { color-scheme: light dark; }
body { margin: 0 auto; padding: 0 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
header { padding-top: 2.5rem; }
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; letter-spacing: -.015em; overflow-wrap: anywhere; }
header p { margin: .4rem 0 0; color: var(--soft); }
h2 { margin: 2.5rem 0 .8rem; font-size: 1.25rem; line-height: 1.3; }
p { margin: .6rem 0; max-width: 44rem; overflow-wrap: anywhere; }
a { color: var(--link); }
nav { margin: 1.2rem 0 0; border-bottom: 1px solid var(--line); }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.4rem; margin: 0; padding: .6rem 0; list-style: none;
  font-size: .9rem; }
nav a { text-decoration: none; white-space: nowrap; }
nav a:hover { text-decoration: underline; }
figure { margin: 1.2rem 0; }
img, svg { display: block; max-width: 100%; height: auto; }
svg { width: 46rem; }
.pixels { image-rendering: pixelated; }
.row .pixels { image-rendering: auto; } /* mostly shrunk there, where nearest neighbour drops rows */
figcaption, caption, .note { color: var(--soft); font-size: .88rem; line-height: 1.45; }
figcaption { margin-top: .5rem; max-width: 44rem; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(13rem, 100%), 1fr)); gap: 0 1.5rem; }
.row > * { min-width: 0; }
table { margin: 1.2rem 0 .4rem; border-collapse: collapse; overflow-wrap: break-word; font-size: .93rem;
  font-variant-numeric: tabular-nums; }
caption { padding-bottom: .5rem; text-align: left; }
th, td { padding: .38rem 1.1rem .38rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-size: .85rem; font-weight: 600; vertical-align: bottom; }
tbody th { min-width: 6.5rem; font-weight: 500; overflow-wrap: anywhere; }
.number { text-align: right; }
thead th { overflow-wrap: normal; }
.note { margin: .2rem 0; }
pre { margin: 1rem 0; padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; background: var(--wash);
  font: .86rem/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
@media (max-width: 44rem) { /* a table's row becomes a card, each cell with its column's name */
  table, caption, tbody, tr, tbody th, td { display: block; }
  thead { display: none; }
  tr { margin: 0 0 1rem; border-top: 2px solid var(--line); }
  tbody th { padding: .5rem 0 .2rem; font-weight: 700; border: 0; }
  td, td:last-child { display: flex; justify-content: space-between; gap: 1rem; padding: .2rem 0; text-align: right; }
  td::before { content: attr(data-column); color: var(--soft); text-align: left; }
}
@media print { nav { display: none; } figure, table { break-inside: avoid; } }
"""
