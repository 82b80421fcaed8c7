"""Images for people: ``grids`` composes bitmaps, ``plots`` and ``scatter`` draw figures; files are PNG and SVG."""

from limner.reports.completion_grid import completion_sheet
from limner.reports.grids import contact_sheet, first_columns, grid, pairs, save_png, strip
from limner.reports.plots import curves, error_bars
from limner.reports.scatter import scatter

__all__ = [
    "completion_sheet",
    "contact_sheet",
    "curves",
    "error_bars",
    "first_columns",
    "grid",
    "pairs",
    "save_png",
    "scatter",
    "strip",
]
