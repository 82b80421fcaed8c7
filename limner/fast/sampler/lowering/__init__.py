"""Models as programs for the compiled sampler."""

from limner.fast.sampler.lowering.masked import gated, masked
from limner.fast.sampler.lowering.patches import patches
from limner.fast.sampler.lowering.plusplus import plusplus
from limner.fast.sampler.lowering.recurrent import recurrent
from limner.fast.sampler.program import Builder, Program
from limner.models.autoregressive import Autoregressive
from limner.models.gated_pixelcnn import GatedPixelCNN
from limner.models.patch_pixelcnn import PatchPixelCNN
from limner.models.pixelcnn import PixelCNN
from limner.models.pixelcnnpp import PixelCNNPP
from limner.models.pixelrnn import PixelRNN

__all__ = ["can_lower", "lower"]


def can_lower(model: object) -> bool:
    """Whether ``lower`` knows the model."""
    return isinstance(model, (PixelCNN, GatedPixelCNN, PixelCNNPP, PatchPixelCNN, PixelRNN))


def lower(model: Autoregressive, vector_bytes: int, vectors: tuple[int, ...]) -> Program:
    """The program of a model.

    Args:
        model: One that ``can_lower``.
        vector_bytes: Width of a register.
        vectors: Widths of the kernel's tiles, in vectors.

    Raises:
        TypeError: It cannot.
    """
    c, _, width = model.shape
    # The layers of the masked networks see the earlier channels of their pixel; the others do not.
    groups = c if isinstance(model, (PixelCNN, GatedPixelCNN, PixelRNN)) else 1
    builder = Builder(width // model.patch, model.dtype, groups, vector_bytes, vectors)
    match model:
        case PixelCNN():
            return masked(builder, model)
        case GatedPixelCNN():
            return gated(builder, model)
        case PixelCNNPP():
            return plusplus(builder, model)
        case PatchPixelCNN():
            return patches(builder, model)
        case PixelRNN():
            return recurrent(builder, model)
    raise TypeError(type(model).__name__)
