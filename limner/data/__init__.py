"""Data: any source of images to uint8 tensors in splits, and batches of them."""

from limner.data.batches import Batch, Batches, epoch_order, sequential
from limner.data.given import Images, OneImage, from_arrays
from limner.data.imageset import Broken, ImageSet, ImageStore, MemoryStore, Split
from limner.data.levels import dequantize, nearest_level, quantize
from limner.data.named import SOURCES
from limner.data.sources import load, named_here
from limner.data.stores import FileStore

__all__ = [
    "SOURCES",
    "Batch",
    "Batches",
    "Broken",
    "FileStore",
    "ImageSet",
    "ImageStore",
    "Images",
    "MemoryStore",
    "OneImage",
    "Split",
    "dequantize",
    "epoch_order",
    "from_arrays",
    "load",
    "named_here",
    "nearest_level",
    "quantize",
    "sequential",
]
