"""The loss of a linear layer, for PyTorch: a fused `cross_entropy(linear(X, W, b), y)` on the CPU.

The scores are never stored, and the gradient is computed in the same pass over X as the loss. Tensors on the CPU are read
where they lie, as the arrays of `softmargin.loss_and_gradient` are.
"""

import torch
from torch.autograd.function import once_differentiable

from softmargin import _core

__all__ = ["linear_cross_entropy"]


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, X, y, W, b, sample_weight, label_smoothing):
        arrays = [_array(name, tensor) for name, tensor in (("X", X), ("y", y), ("W", W), ("b", b))]
        weights = None if sample_weight is None else _array("sample_weight", sample_weight)
        loss, dW, db = _core.loss_and_gradient(
            *arrays, loss="cross_entropy", label_smoothing=label_smoothing, sample_weight=weights
        )
        ctx.save_for_backward(X, y, W, b, sample_weight)
        ctx.gradient, ctx.label_smoothing = (torch.from_numpy(dW), torch.from_numpy(db)), label_smoothing
        return torch.tensor(loss, dtype=W.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, slope):
        dW, db = (slope * part for part in ctx.gradient)
        dX = slope * _by_features(ctx) if ctx.needs_input_grad[0] else None
        return dX, None, dW.to(slope.dtype), db.to(slope.dtype), None, None


def _by_features(ctx):
    """dL/dX: the derivatives by the scores, times W."""
    X, y, W, b, sample_weight = ctx.saved_tensors
    slopes = torch.from_numpy(_core.predict_proba(*(_array("", tensor) for tensor in (X, W, b))))
    slopes -= ctx.label_smoothing / W.shape[0]
    slopes[torch.arange(len(y)), y.long()] -= 1 - ctx.label_smoothing
    if sample_weight is None:
        slopes /= len(y)
    else:
        slopes *= (sample_weight / sample_weight.sum(dtype=torch.float64)).to(slopes.dtype)[:, None]
    return (slopes @ W.to(slopes.dtype)).to(X.dtype)


def _array(name, tensor):
    if tensor.device.type != "cpu":
        raise ValueError(f"{name} is on {tensor.device}; softmargin computes on the CPU")
    if tensor.dtype == torch.bfloat16:
        # NumPy has no such type.
        tensor = tensor.float()
    return tensor.detach().numpy()


def linear_cross_entropy(X, y, W, b=None, *, sample_weight=None, label_smoothing=0.0):
    """The mean of −log softmax(X Wᵀ + b)_y, as `torch.nn.functional.cross_entropy` of `linear(X, W, b)` computes it.

    Parameters
    ----------
    X : tensor of shape (N, D)
        float32 or float64; or float16, uint8 or int8, which are computed with in the type of W.
    y : tensor of shape (N,)
        Labels: whole numbers from 0 to C − 1.
    W : tensor of shape (C, D)
    b : tensor of shape (C,), optional
    sample_weight : tensor of shape (N,), optional
        The mean is the weighted one.
    label_smoothing : float, default=0.0

    Returns
    -------
    A tensor without dimensions, of the type of W, that can be differentiated (once) by X, W and b.

    Raises
    ------
    ValueError
        For shapes and labels that do not fit, and for what is not finite, with its row and value. For a `sample_weight` that
        requires a gradient, as there is none.

    Examples
    --------
    >>> import torch
    >>> from softmargin.torch import linear_cross_entropy
    >>> probe = torch.nn.Linear(2, 3)
    >>> loss = linear_cross_entropy(torch.eye(2), torch.tensor([0, 2]), probe.weight, probe.bias)
    >>> loss.backward()
    >>> probe.weight.grad.shape
    torch.Size([3, 2])
    """
    if sample_weight is not None and sample_weight.requires_grad:
        raise ValueError("sample_weight requires a gradient, and has none here; detach() it")
    if b is None:
        b = W.new_zeros(W.shape[0])
    return _LinearCrossEntropy.apply(X, y, W, b, sample_weight, float(label_smoothing))
