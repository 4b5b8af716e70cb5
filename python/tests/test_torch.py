import pytest

torch = pytest.importorskip("torch")
functional = torch.nn.functional

from softmargin.torch import linear_cross_entropy


def problem(dtype=torch.float64, n=23, d=7, c=4):
    random = torch.Generator().manual_seed(3)
    X, W, b = (torch.randn(*shape, generator=random, dtype=torch.float64) for shape in [(n, d), (c, d), (c,)])
    y = torch.randint(c, (n,), generator=random)
    return X.to(dtype), y, W.to(dtype).requires_grad_(), b.to(dtype).requires_grad_()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_derivatives(smoothing, weighted):
    X, y, W, b = problem()
    weights = torch.linspace(0.5, 2.0, len(y), dtype=X.dtype) if weighted else None

    def loss(X, W, b):
        return linear_cross_entropy(X, y, W, b, sample_weight=weights, label_smoothing=smoothing)

    assert torch.autograd.gradcheck(loss, (X.requires_grad_(), W, b))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_that_of_pytorch(dtype):
    X, y, W, b = problem(dtype)
    X.requires_grad_()
    ours, theirs = linear_cross_entropy(X, y, W, b), functional.cross_entropy(functional.linear(X, W, b), y)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs)
    for a, e in zip(torch.autograd.grad(3 * ours, [X, W, b]), torch.autograd.grad(3 * theirs, [X, W, b])):
        torch.testing.assert_close(a, e)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_features_as_they_are_stored(dtype):
    X, y, W, b = problem(torch.float32)
    X = (10 * X.abs()).to(dtype)
    ours = linear_cross_entropy(X, y, W, b)
    torch.testing.assert_close(ours, functional.cross_entropy(functional.linear(X.float(), W, b), y))


def test_a_probe_learns():
    X, y, _, _ = problem(torch.float32)
    probe = torch.nn.Linear(7, 4)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = linear_cross_entropy(X, y, probe.weight, probe.bias)
        loss.backward()
        return loss

    before = closure().item()
    optimizer.step(closure)
    assert closure().item() < 0.5 * before


def test_errors():
    X, y, W, b = problem()
    with pytest.raises(ValueError, match="row 5 has label 4"):
        linear_cross_entropy(X, y.index_fill(0, torch.tensor(5), 4), W, b)
    with pytest.raises(ValueError, match="meta"):
        linear_cross_entropy(X.to("meta"), y, W, b)
    weights = torch.ones(len(y), requires_grad=True)
    with pytest.raises(ValueError, match="sample_weight requires a gradient"):
        linear_cross_entropy(X, y, W, b, sample_weight=weights)
    X[2, 3] = float("nan")
    with pytest.raises(ValueError, match="row 2"):
        linear_cross_entropy(X, y, W, b)
