"""Seconds to a trained model: all of Fashion-MNIST, cross-entropy, pixels / 255 in float32, from zero.

Minimises F = mean cross-entropy + 1e-4 * sum of squared weights (the bias is free), whose optimum is about
0.396025, and asks of every solver how long it takes to F <= 0.39642. Each is run for more and more iterations,
from the start every time, until it is there; the time is that of its last run. scikit-learn's own solvers,
those of Intel's extension of it, and PyTorch's L-BFGS, beside `softmargin train`, in one run.

usage: solve.py [FOLDER]      (of the four IDX files; /usr/share/datasets/fashion-mnist by default)
needs: cargo build --release; pip install -r requirements.txt
"""

import gzip
import json
import pathlib
import subprocess
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
L2, TARGET, LIMIT = 1e-4, 0.39642, 60.0


def idx(name, offset):
    return np.frombuffer(gzip.open(FOLDER / f"{name}-ubyte.gz").read(), np.uint8, offset=offset)


X = (idx("train-images-idx3", 16).reshape(-1, 784) / np.float32(255)).astype(np.float32)
Y = idx("train-labels-idx1", 8).astype(np.int64)


def objective(w, b):
    s = X.astype(np.float64) @ np.asarray(w, np.float64).T + np.asarray(b, np.float64)
    top = s.max(1)
    losses = np.log(np.exp(s - top[:, None]).sum(1)) + top - s[np.arange(len(Y)), Y]
    return losses.mean() + L2 * np.square(np.asarray(w, np.float64)).sum()


def softmargin(solver):
    def run(iterations):
        command = [ROOT / "target/release/softmargin", "train", "--json", "--data", FOLDER, "--solver", solver]
        command += ["--l2", str(L2), "--max-iter", str(iterations)]
        result = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        return result["seconds"], result["objective"]

    return run


def scikit_learn(solver):
    def run(iterations):
        model = LogisticRegression(C=1 / (2 * L2 * len(Y)), solver=solver, max_iter=iterations, tol=1e-9)
        start = time.perf_counter()
        model.fit(X, Y)
        return time.perf_counter() - start, objective(model.coef_, model.intercept_)

    return run


def intel(iterations):
    from sklearnex.linear_model import LogisticRegression as Extension

    model = Extension(C=1 / (2 * L2 * len(Y)), solver="lbfgs", max_iter=iterations, tol=1e-9)
    start = time.perf_counter()
    model.fit(X, Y)
    return time.perf_counter() - start, objective(model.coef_, model.intercept_)


def pytorch(iterations):
    import torch

    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    w = torch.zeros(10, 784, requires_grad=True)
    b = torch.zeros(10, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w, b],
        max_iter=iterations,
        max_eval=10 * iterations,
        history_size=10,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def closure():
        solver.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ w.T + b, y) + L2 * (w * w).sum()
        loss.backward()
        return loss

    start = time.perf_counter()
    solver.step(closure)
    return time.perf_counter() - start, objective(w.detach().numpy(), b.detach().numpy())


from sklearn.linear_model import LogisticRegression  # noqa: E402

SOLVERS = {
    "softmargin, L-BFGS with curvature": (softmargin("lbfgs"), [6, 8, 10, 11, 12, 13, 14, 16, 18, 20, 25, 30]),
    "softmargin, Newton": (softmargin("newton"), [2, 3, 4, 5, 6, 8, 10]),
    "Intel's extension of scikit-learn, lbfgs": (intel, [80, 100, 110, 120, 130, 140, 160, 180, 200, 300]),
    "scikit-learn, lbfgs": (scikit_learn("lbfgs"), [180, 210, 240, 270, 300, 400]),
    "scikit-learn, newton-cg": (scikit_learn("newton-cg"), [8, 9, 10, 11, 12, 15]),
    "scikit-learn, saga": (scikit_learn("saga"), [10, 40]),
    "PyTorch, LBFGS": (pytorch, [150, 200, 250, 300, 400]),
}

print("| solver | iterations | F | seconds | times as long |\n|---|--:|--:|--:|--:|", flush=True)
ours = None
for name, (run, counts) in SOLVERS.items():
    run(2)
    for iterations in counts:
        print(f"{name}: {iterations} iterations ...", end="\r", file=sys.stderr)
        seconds, f = run(iterations)
        if f <= TARGET or seconds > LIMIT:
            break
    print(" " * 70, end="\r", file=sys.stderr)
    ours = ours or seconds
    there = "" if f <= TARGET else "more than "
    print(f"| {name} | {iterations} | {f:.6f} | {there}{seconds:.2f} | {there}{seconds / ours:.1f} × |", flush=True)
