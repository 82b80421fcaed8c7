"""Building blocks of the networks."""

from limner.nn.masked import MaskedConv2d, RowsAbove, channel_groups, raster_mask
from limner.nn.norms import normalised

__all__ = ["MaskedConv2d", "RowsAbove", "channel_groups", "normalised", "raster_mask"]
