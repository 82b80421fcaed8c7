"""The Inception features that published FIDs are of, where the user has their weights.

The file is the TorchScript that StyleGAN's authors publish as ``inception-2015-12-05.pt``, or any TorchScript from
uint8 ``(B, 3, H, W)`` to features ``(B, D)``. limner downloads none: https://github.com/NVlabs/stylegan3 says where it
lies.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from limner.errors import LimnerError

__all__ = ["Inception"]


class Inception(nn.Module):
    """Features ``(B, D)`` of uint8 images ``(B, C, H, W)``, grey or RGB.

    Raises:
        LimnerError: ``path`` is no TorchScript.
    """

    def __init__(self, path: Path, device: torch.device | None = None) -> None:
        super().__init__()
        if not path.is_file():
            raise LimnerError(f"LIMNER_INCEPTION={path}: there is no such file")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of TorchScript, which the file is
                self.network = torch.jit.load(path, map_location=device or "cpu").eval()
        except RuntimeError as error:
            raise LimnerError(
                f"LIMNER_INCEPTION={path} is no TorchScript file: give inception-2015-12-05.pt"
            ) from error
        self.name = path.name
        arguments = {argument.name for argument in self.network.forward.schema.arguments}
        self.options = {"return_features": True} if "return_features" in arguments else {}

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.network(images.expand(-1, 3, -1, -1), **self.options).flatten(1)
