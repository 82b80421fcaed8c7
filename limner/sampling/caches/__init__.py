"""Networks computed a pixel at a time in PyTorch, each activation once."""

from torch import Tensor

from limner.models.autoregressive import Autoregressive
from limner.models.gated_pixelcnn import GatedPixelCNN
from limner.models.pixelcnn import PixelCNN
from limner.models.pixelrnn import PixelRNN
from limner.sampling.caches.common import Network
from limner.sampling.caches.masked import gated, masked
from limner.sampling.caches.recurrent import recurrent

__all__ = ["has_cache", "network"]


def has_cache(model: object) -> bool:
    """Whether ``network`` knows the model."""
    return isinstance(model, (PixelCNN, GatedPixelCNN, PixelRNN))


def network(model: Autoregressive, n: int, labels: Tensor | None, context: Tensor | None) -> Network:
    """The network of a model for ``n`` new images.

    Args:
        model: One that ``has_cache``.
        n: How many images.
        labels: Classes int64 ``(n,)`` where the model has classes.
        context: ``(n, ·, H, W)`` where the model takes one.

    Raises:
        TypeError: It has none.
    """
    match model:
        case PixelCNN():
            return masked(model, n, labels)
        case GatedPixelCNN():
            return gated(model, n, labels)
        case PixelRNN():
            return recurrent(model, n, labels, context)
    raise TypeError(type(model).__name__)
