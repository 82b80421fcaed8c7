"""Pictures for people: ``sheets`` composes bitmaps, ``plots`` draws curves; files are PNG and SVG."""

from limner.pictures.plots import curves, inline_svg
from limner.pictures.sheets import contact_sheet, grid, pairs, png_bytes, save_png, strip

__all__ = ["contact_sheet", "curves", "grid", "inline_svg", "pairs", "png_bytes", "save_png", "strip"]
