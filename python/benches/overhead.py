"""Prints what a call costs beside its work: that of a problem of one row, one feature and two classes, in µs."""

import timeit

import numpy as np

from softmargin import Evaluator, loss_and_gradient

X, y = np.ones((1, 1), np.float32), np.zeros(1, np.int64)
W, b = np.zeros((2, 1), np.float32), np.zeros(2, np.float32)
out, evaluator = (np.empty_like(W), np.empty_like(b)), Evaluator()
for name, call in [
    ("Evaluator, out=", lambda: evaluator.loss_and_gradient(X, y, W, b, out=out)),
    ("Evaluator", lambda: evaluator.loss_and_gradient(X, y, W, b)),
    ("loss_and_gradient", lambda: loss_and_gradient(X, y, W, b)),
]:
    call()
    print(f"{name:18} {min(timeit.repeat(call, number=20_000, repeat=7)) / 20_000 * 1e6:6.2f}")
