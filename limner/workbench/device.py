"""Where a run's model is."""

from __future__ import annotations

import torch

__all__ = ["device"]


def device() -> torch.device:
    """Where a run's model is: on the GPU if there is one.

    float32 means float32 there, too: cuDNN's convolutions would else be of 10 bits (TF32), and a likelihood depend on
    how many images are measured together. Where fewer bits are faster in training, ``precision=auto`` finds bf16. And
    its gradients are summed in the same order each time, so that a resumed run ends as one that was never stopped.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
