"""The table of ``limner.kernels.elbo``: which arrays there are, and where."""

from __future__ import annotations

import numpy as np
from numba import carray, njit

from limner.kernels.team import TEAM, pointer
from limner.kernels.vectors import FAST

__all__ = ["ARRAYS", "HEADER", "LENGTH", "array", "inputs", "six"]

CODE, LOGITS = 2, 5
"""The layers that give μ and r, and the logits."""
ROWS, SHARE = 48, 16
"""Rows of a weight's gradient that are multiplied together; pictures of a share, but for the last, are multiples."""
PICTURES_COUNT, TANH, DOUBLY, BFLOAT16, PRODUCT = range(TEAM, TEAM + 5)
"""Behind the team: pictures; whether tanh, whether doubly, whether bfloat16; the address of ``product``."""
HEADER = TEAM + 5
SINGLE = (
    "pictures", "keep", "noise", "terms", "scale", "bad", "seen", "pixels", "z", "sigma", "bent", "d_z", "d_scale",
    "spare", "zeros",
)  # fmt: skip
OF_LAYERS = (
    "weights", "biases", "gradients", "bias_gradients", "outputs", "slopes", "starts", "forwards", "backwards", "d",
    "d_columns", "x_panels", "d_starts",
)  # fmt: skip
ARRAYS = {name: HEADER + 3 * at for at, name in enumerate(SINGLE)}
"""Where a table has an array's address, rows and columns, of layers those of the first."""
ARRAYS |= {name: HEADER + 3 * (len(SINGLE) + 6 * at) for at, name in enumerate(OF_LAYERS)}
LENGTH = HEADER + 3 * (len(SINGLE) + 6 * len(OF_LAYERS))
(PICTURES, KEEP, NOISE, TERMS, SCALE, BAD, SEEN, PIXELS, Z, SIGMA, BENT, D_Z, D_SCALE, SPARE, ZEROS) = (
    ARRAYS[name] for name in SINGLE
)
(WEIGHTS, BIASES, GRADIENTS, BIAS_GRADIENTS, OUTPUTS, SLOPES, STARTS, FORWARDS, BACKWARDS, D, D_COLUMNS, X_PANELS,
 D_STARTS) = (ARRAYS[name] for name in OF_LAYERS)  # fmt: skip


@njit(**FAST)
def array(table, at):
    """Of float32, one of ``ARRAYS``."""
    return carray(pointer(table[at]), (table[at + 1], table[at + 2]), np.float32)


@njit(**FAST)
def six(table, at):
    """Those of all layers."""
    return (array(table, at), array(table, at + 3), array(table, at + 6), array(table, at + 9),
            array(table, at + 12), array(table, at + 15))  # fmt: skip


@njit(**FAST)
def inputs(table):
    """What each layer is given."""
    a, b, _, c, d, _ = six(table, OUTPUTS)
    return array(table, SEEN), a, b, array(table, Z), c, d
