"""Images for people: ``grids`` composes bitmaps, ``plots`` and ``scatter`` draw figures; files are PNG and SVG."""

from limner.reports.completion_grid import completion_sheet
from limner.reports.grids import class_sheet, contact_sheet, first_columns, grid, pairs, save_png, strip
from limner.reports.image_files import check_image_name, save_image
from limner.reports.plots import curves, error_bars
from limner.reports.scatter import scatter
from limner.reports.timelapse import time_lapse

__all__ = [
    "check_image_name",
    "class_sheet",
    "completion_sheet",
    "contact_sheet",
    "curves",
    "error_bars",
    "first_columns",
    "grid",
    "pairs",
    "save_image",
    "save_png",
    "scatter",
    "strip",
    "time_lapse",
]
