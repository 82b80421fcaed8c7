"""The recurrent cores of PixelRNN: the plain loops say the paper's equations, the compiled ones say the same."""

import pytest
import torch

from limner.nn import recurrent
from limner.nn.recurrent import diagonal_lstm, lstm_cell, row_lstm, skew, unskew

pytest.importorskip("numba")


def test_skewing_moves_row_i_by_i_places():
    x = torch.arange(24.0).view(2, 3, 4) + 1
    expected = torch.zeros(2, 3, 6)
    for n in range(2):
        for i in range(3):
            for j in range(4):
                expected[n, i, j + i] = x[n, i, j]
    assert torch.equal(skew(x), expected)
    assert skew(x)[0].tolist() == [[1, 2, 3, 4, 0, 0], [0, 5, 6, 7, 8, 0], [0, 0, 9, 10, 11, 12]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (3, 4), (4, 3), (2, 3, 5, 2)])
def test_unskewing_is_the_inverse(shape):
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    skewed = skew(x)
    assert skewed.shape == (*shape[:-1], shape[-1] + shape[-2] - 1)
    assert torch.equal(unskew(skewed), x)
    assert torch.equal(unskew(skewed + (skew(torch.ones_like(x)) == 0)), x)  # whatever stands in the corners
    weight = torch.randn(skewed.shape, dtype=torch.float64)
    (skewed * weight).sum().backward()
    assert torch.equal(x.grad, unskew(weight))


CASES = [("rows", 1), ("rows", 3), ("rows", 5), ("diagonals", 2)]
CORES = {"rows": (row_lstm, recurrent._rows), "diagonals": (diagonal_lstm, recurrent._diagonals)}


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request):
    return request.param


def made(case, h, w, batch, features, dtype=torch.float64):
    """Inputs and weight of a core, whose gates are used over their whole range."""
    kind, taps = case
    generator = torch.Generator().manual_seed(0)
    directions = () if kind == "rows" else (2,)
    inputs = torch.randn(h, w, batch, *directions, 4 * features, generator=generator, dtype=torch.float64)
    weight = torch.randn(*directions, 4 * features, taps * features, generator=generator, dtype=torch.float64)
    weight = weight * (taps * features) ** -0.5
    return inputs.to(dtype).requires_grad_(), weight.to(dtype).requires_grad_()


def gradients(core, inputs, weight):
    """Hidden states, and the gradients of a sum that counts each of them differently."""
    inputs, weight = inputs.detach().requires_grad_(), weight.detach().requires_grad_()
    hidden = core(inputs, weight)
    counts = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return hidden.detach(), *torch.autograd.grad((hidden * counts.to(hidden.dtype)).sum(), (inputs, weight))


def by_pixels(case, inputs, weight):
    """Equation 3 for one pixel after another, neighbours by their coordinates; nothing lies outside the image."""
    kind, taps = case
    h, w, batch = inputs.shape[:3]
    n = inputs.shape[-1] // 4
    nothing = torch.zeros(batch, n, dtype=inputs.dtype)

    def states(inputs, weight, columns, neighbours, before):
        hidden, cells = {}, {}
        for i in range(h):
            for j in columns:
                sums = inputs[i, j]
                for t, (di, dj) in enumerate(neighbours):
                    sums = sums + hidden.get((i + di, j + dj), nothing) @ weight[:, t * n : (t + 1) * n].T
                o, f, g_in, g = (sums[:, gate * n : (gate + 1) * n] for gate in range(4))
                cell = cells.get((i + before[0], j + before[1]), nothing)
                cells[i, j] = torch.sigmoid(f) * cell + torch.sigmoid(g_in) * torch.tanh(g)
                hidden[i, j] = torch.sigmoid(o) * torch.tanh(cells[i, j])
        return hidden

    if kind == "rows":
        above = [(-1, t - taps // 2) for t in range(taps)]
        left = states(inputs, weight, range(w), above, (-1, 0))
        right = {}
    else:
        left = states(inputs[..., 0, :], weight[0], range(w), [(0, -1), (-1, 0)], (0, -1))
        right = states(inputs[..., 1, :], weight[1], range(w - 1, -1, -1), [(0, 1), (-1, 0)], (0, 1))
    return torch.stack([torch.stack([left[i, j] + right.get((i - 1, j), nothing) for j in range(w)]) for i in range(h)])


def test_the_cell_is_equation_three():
    sums, cell = torch.randn(2, 12, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    o, f, i, g = (sums[:, 3 * x : 3 * x + 3] for x in range(4))
    expected = 1 / (1 + (-f).exp()) * cell + 1 / (1 + (-i).exp()) * g.tanh()
    hidden, after = lstm_cell(sums, cell)
    assert torch.allclose(after, expected, atol=1e-14)
    assert torch.allclose(hidden, expected.tanh() / (1 + (-o).exp()), atol=1e-14)


@pytest.mark.parametrize("size", [(1, 1), (1, 4), (4, 1), (3, 5), (5, 3)])
def test_the_plain_loop_is_the_equation_at_every_pixel(case, size):
    inputs, weight = made(case, *size, 2, 3)
    plain = gradients(CORES[case[0]][1], inputs, weight)
    expected = gradients(lambda *args: by_pixels(case, *args), inputs, weight)
    for mine, right in zip(plain, expected, strict=True):
        assert torch.allclose(mine, right, atol=1e-12)


@pytest.mark.parametrize("features", [5, 16, 32])
@pytest.mark.parametrize(("size", "batch", "threads"), [((5, 7), 1, 1), ((6, 4), 9, 2), ((1, 3), 9, 1), ((3, 1), 2, 2)])
def test_the_compiled_loop_is_the_plain_one(case, features, size, batch, threads):
    core, plain = CORES[case[0]]
    inputs, weight = made(case, *size, batch, features)
    expected = gradients(plain, inputs, weight)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        exact = gradients(core, inputs, weight)
        float32 = gradients(core, inputs.float(), weight.float())
    finally:
        torch.set_num_threads(before)
    rounded = gradients(plain, inputs.float().double(), weight.float().double())  # float64 autograd of the same numbers
    assert (float32[0] - rounded[0]).abs().max() < 1e-5
    for mine, same, right, right32 in zip(exact, float32, expected, rounded, strict=True):
        largest = right.abs().max() + 1e-30  # a single row's state meets no weight
        assert mine.dtype == torch.float64
        assert same.dtype == torch.float32
        assert mine.shape == same.shape == right.shape
        assert (mine - right).abs().max() <= 1e-10 * largest
        assert (same - right32).abs().max() <= 1e-6 * largest


def test_memory_may_lie_in_any_order(case):
    core, plain = CORES[case[0]]
    inputs, weight = made(case, 4, 5, 3, 6)
    expected = gradients(plain, inputs, weight)
    upside_down = [x.detach().mT.contiguous().mT for x in (inputs, weight)]
    upside_down[0] = upside_down[0].transpose(0, 2).contiguous().transpose(0, 2)
    assert not any(x.is_contiguous() for x in upside_down)
    hidden = core(*(x.requires_grad_() for x in upside_down))
    counts = torch.randn(hidden.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    counts = counts.permute(2, 3, 0, 1).contiguous().permute(2, 3, 0, 1)  # the gradient that comes in
    found = torch.autograd.grad(hidden, upside_down, counts)
    for mine, right in zip((hidden, *found), expected, strict=True):
        assert torch.allclose(mine, right, atol=1e-12)
    (one,) = torch.autograd.grad(core(inputs, weight).sum(), inputs)  # a gradient of stride 0
    (other,) = torch.autograd.grad(plain(inputs, weight).sum(), inputs)
    assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_nan_is_not_hidden(case, dtype):
    core, plain = CORES[case[0]]
    inputs, weight = made(case, 4, 5, 3, 6, dtype)
    with torch.no_grad():
        for gate in range(4):
            broken = inputs.clone()
            broken[1, 2, 1, ..., gate * 6 + 2] = torch.nan
            hidden = core(broken, weight)
            assert hidden[1, 2, 1].isnan().any()
            assert torch.equal(hidden.isnan(), plain(broken, weight).isnan())
        weight[..., 0, 0] = torch.nan
        assert torch.equal(core(inputs, weight).isnan(), plain(inputs, weight).isnan())


def test_a_second_derivative_is_refused(case):
    inputs, weight = made(case, 2, 3, 2, 4)
    hidden = CORES[case[0]][0](inputs, weight)
    for total in (hidden.sum(), hidden.square().sum()):  # else the first would be taken for a constant
        with pytest.raises(RuntimeError, match="no second derivative"):
            torch.autograd.grad(total, inputs, create_graph=True)


def test_the_plain_loop_takes_over_without_numba(case, monkeypatch):
    core, plain = CORES[case[0]]
    inputs, weight = made(case, 3, 4, 2, 5, torch.float32)
    called = []
    monkeypatch.setattr(recurrent, plain.__name__, lambda *args: called.append(case) or plain(*args))
    compiled = core(inputs, weight)
    assert not called
    monkeypatch.setenv("LIMNER_ACCELERATE", "0")
    assert torch.equal(core(inputs, weight), plain(inputs, weight))
    assert called
    assert torch.allclose(core(inputs, weight), compiled, atol=1e-6)


@pytest.mark.parametrize("numba", [True, False])
def test_under_autocast_it_stays_in_the_precision_of_the_weights(case, numba, monkeypatch):
    monkeypatch.setenv("LIMNER_ACCELERATE", str(int(numba)))
    core = CORES[case[0]][0]
    inputs, weight = made(case, 3, 4, 2, 5, torch.float32)
    inputs = inputs.detach().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        hidden = core(inputs, weight)
    assert hidden.dtype == torch.float32
    assert torch.equal(hidden, core(inputs.float(), weight))
