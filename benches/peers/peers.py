#!/usr/bin/env python3
"""Times one evaluation of loss, dW and db by NumPy, scikit-learn, PyTorch and JAX, in float32 and on all
threads, beside `softmargin bench` on data of the same shape and distribution, in the same run.

    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release
    peers/bin/python benches/peers/peers.py

Before anything is timed, the peers' losses and gradients are compared with each other. Times are medians.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

SHAPES = {
    "images": (60_000, 784, 10),
    "cifar": (50_000, 3072, 10),
    "minibatch": (256, 784, 10),
    "probe-100": (100_000, 384, 100),
    "probe-1000": (20_000, 1024, 1000),
    "binary": (1_000_000, 32, 2),
    "letters": (20_000, 16, 26),
    "odd": (4097, 1023, 37),
}
LOSSES = ("cross-entropy", "hinge")
L2 = np.float32(1e-4)
MARGIN = np.float32(1)
PROGRAM = Path(__file__).parents[2] / "target" / "release" / "softmargin"


class Problem:
    """The inputs of an evaluation, with the distributions that `softmargin bench` draws from."""

    def __init__(self, n, d, c):
        random = np.random.default_rng(1)
        self.n, self.c = n, c
        self.x = random.random((n, d), dtype=np.float32)
        self.x -= np.float32(0.5)
        self.x *= np.float32(3)
        self.labels = random.integers(0, c, n)
        self.w = (random.random((c, d), dtype=np.float32) - np.float32(0.5)) * np.float32(0.05)
        self.b = np.zeros(c, np.float32)


def numpy_peer(problem, loss):
    """Two matrix products around in-place element-wise work."""
    x, w, b, labels, n = problem.x, problem.w, problem.b, problem.labels, problem.n
    rows = np.arange(n)

    def cross_entropy():
        scores = x @ w.T
        scores += b
        scores -= scores.max(axis=1, keepdims=True)
        of_label = scores[rows, labels]
        np.exp(scores, out=scores)
        sums = scores.sum(axis=1)
        scores /= sums[:, None]
        scores[rows, labels] -= 1
        return float(np.mean(np.log(sums) - of_label)), scores

    def hinge():
        scores = x @ w.T
        scores += b
        scores += (MARGIN - scores[rows, labels])[:, None]
        scores[rows, labels] = 0
        np.maximum(scores, 0, out=scores)
        total = float(scores.sum(dtype=np.float64)) / n
        np.sign(scores, out=scores)
        scores[rows, labels] = -scores.sum(axis=1)
        return total, scores

    def evaluate():
        total, ds = cross_entropy() if loss == "cross-entropy" else hinge()
        ds /= np.float32(n)
        return total + float(L2 * np.vdot(w, w)), ds.T @ x + 2 * L2 * w, ds.sum(axis=0)

    return evaluate


def sklearn_peer(problem, loss):
    """What LogisticRegression calls for each step of its solvers. It has no multiclass hinge."""
    if loss != "cross-entropy" or problem.c < 3:
        return None
    from sklearn._loss.loss import HalfMultinomialLoss
    from sklearn.linear_model._linear_loss import LinearModelLoss

    linear = LinearModelLoss(HalfMultinomialLoss(n_classes=problem.c), fit_intercept=True)
    coefficients = np.asfortranarray(np.column_stack([problem.w, problem.b]))
    labels = problem.labels.astype(np.float32)
    threads = os.cpu_count()

    def evaluate():
        total, gradient = linear.loss_gradient(
            coefficients, problem.x, labels, l2_reg_strength=2 * L2, n_threads=threads
        )
        return float(total), gradient[:, :-1], gradient[:, -1]

    return evaluate


def torch_peer(problem, loss):
    """Eager mode with autograd. `multi_margin_loss` divides by the number of classes."""
    import torch
    from torch.nn import functional

    x, labels = torch.from_numpy(problem.x), torch.from_numpy(problem.labels)
    w = torch.from_numpy(problem.w.copy()).requires_grad_()
    b = torch.from_numpy(problem.b.copy()).requires_grad_()

    def evaluate():
        w.grad = b.grad = None
        scores = functional.linear(x, w, b)
        if loss == "cross-entropy":
            mean = functional.cross_entropy(scores, labels)
        else:
            mean = functional.multi_margin_loss(scores, labels, margin=float(MARGIN)) * problem.c
        total = mean + float(L2) * (w * w).sum()
        total.backward()
        return total.item(), w.grad.numpy(), b.grad.numpy()

    return evaluate


def jax_peer(problem, loss):
    """Compiled by XLA."""
    import jax
    import jax.numpy as jnp

    x, labels = jnp.asarray(problem.x), jnp.asarray(problem.labels)
    parameters = (jnp.asarray(problem.w), jnp.asarray(problem.b))

    def objective(parameters, x, labels):
        w, b = parameters
        scores = x @ w.T + b
        of_label = jnp.take_along_axis(scores, labels[:, None], axis=1)
        if loss == "cross-entropy":
            losses = jax.nn.logsumexp(scores, axis=1) - of_label[:, 0]
        else:
            # The margin of the class itself is no loss.
            losses = jnp.maximum(scores - of_label + MARGIN, 0).sum(axis=1) - MARGIN
        return losses.mean() + L2 * (w * w).sum()

    compiled = jax.jit(jax.value_and_grad(objective))

    def evaluate():
        total, (dw, db) = jax.block_until_ready(compiled(parameters, x, labels))
        return float(total), dw, db

    return evaluate


PEERS = {"NumPy": numpy_peer, "scikit-learn": sklearn_peer, "PyTorch": torch_peer, "JAX": jax_peer}


def check(name, got, expected):
    for part, a, b in zip(("loss", "dW", "db"), got, expected):
        a, b = np.asarray(a), np.asarray(b)
        if not np.max(np.abs(a - b)) <= 1e-2 * np.max(np.abs(b)):
            sys.exit(f"{name}: its {part} differs from NumPy's")


def median_time(evaluate, seconds):
    evaluate()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        evaluate()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def own_times(program, shape, seconds):
    command = [program, "bench", "--json", "--shapes", shape, "--seconds", str(seconds)]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {m["loss"]: m["median_seconds"] for m in report["measurements"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--shapes", default=",".join(SHAPES), help="those to time (default: all)")
    parser.add_argument("--seconds", type=int, default=2, help="for each measurement")
    parser.add_argument("--program", default=PROGRAM, help="softmargin (default: %(default)s)")
    arguments = parser.parse_args()
    shapes = arguments.shapes.split(",")
    if unknown := [shape for shape in shapes if shape not in SHAPES]:
        parser.error(f"unknown shape {unknown[0]!r}, known are {', '.join(SHAPES)}")

    print("| shape | loss | softmargin |", " | ".join(PEERS), "| fastest peer / softmargin |")
    print("|---|---|" + "--:|" * (len(PEERS) + 2))
    for shape in shapes:
        ours = own_times(arguments.program, shape, arguments.seconds)
        problem = Problem(*SHAPES[shape])
        for loss in LOSSES:
            times, expected = {}, None
            for name, peer in PEERS.items():
                print(f"{shape} {loss}: {name} ...", end="\r", file=sys.stderr, flush=True)
                evaluate = peer(problem, loss)
                if evaluate is None:
                    continue
                result = evaluate()
                expected = expected or result
                check(name, result, expected)
                times[name] = median_time(evaluate, arguments.seconds)
            cells = [f"{1e3 * times[name]:.3g} ms" if name in times else "–" for name in PEERS]
            ratio = min(times.values()) / ours[loss]
            own = f"{1e3 * ours[loss]:.3g} ms"
            print("|", " | ".join([shape, loss, own, *cells, f"{ratio:.1f} ×"]), "|", flush=True)


if __name__ == "__main__":
    main()
