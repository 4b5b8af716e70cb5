"""Seconds to a trained model, cross-entropy, float32, from zero.

Minimises F = mean cross-entropy + L2 * sum of squared weights (the bias is free), and asks of every solver how long it
takes to a given F. Each is run for more and more iterations, from the start every time, until it is there; the time is
that of its last run. scikit-learn's own solvers, those of Intel's extension of it, and PyTorch's L-BFGS, beside
`softmargin train`, in one run.

usage: solve.py [FOLDER]      all of Fashion-MNIST (the four IDX files; /usr/share/datasets/fashion-mnist by default),
                              pixels / 255, to F <= 0.39642; the optimum is about 0.396025
       solve.py probe N D C   embeddings of overlapping classes, to within 1e-4 of the optimum, relative
needs: cargo build --release; pip install -r requirements.txt
"""

import gzip
import json
import pathlib
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 60.0


def fashion(folder):
    def idx(name, offset):
        return np.frombuffer(gzip.open(folder / f"{name}-ubyte.gz").read(), np.uint8, offset=offset)

    x = (idx("train-images-idx3", 16).reshape(-1, 784) / np.float32(255)).astype(np.float32)
    return x, idx("train-labels-idx1", 8).astype(np.int64), ["--data", folder]


def probe(n, d, c, folder):
    """Features whose variance decays, far from zero, in rows of one length; a tenth of the labels are wrong."""
    random = np.random.default_rng(1)
    deviations = np.arange(1, d + 1) ** -0.6
    deviations /= np.sqrt(np.mean(deviations**2))
    y = random.integers(0, c, n)
    centers = 0.25 * random.standard_normal((c, d))
    x = (centers[y] + random.standard_normal((n, d))) * deviations + 0.3
    x = x @ np.linalg.qr(random.standard_normal((d, d)))[0]
    x = (x * (0.25 * np.sqrt(d) / np.linalg.norm(x, axis=1, keepdims=True))).astype(np.float32)
    wrong = random.random(n) < 0.1
    y[wrong] = random.integers(0, c, wrong.sum())
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return x, y, ["--data", folder / "x.npy", "--labels", folder / "y.npy"]


if sys.argv[1:2] == ["probe"]:
    directory = tempfile.TemporaryDirectory()
    X, Y, DATA = probe(*map(int, sys.argv[2:5]), pathlib.Path(directory.name))
    L2, TARGET = 1e-5, None
else:
    X, Y, DATA = fashion(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist"))
    L2, TARGET = 1e-4, 0.39642
CLASSES = int(Y.max()) + 1


def objective(w, b):
    s = X.astype(np.float64) @ np.asarray(w, np.float64).T + np.asarray(b, np.float64)
    top = s.max(1)
    losses = np.log(np.exp(s - top[:, None]).sum(1)) + top - s[np.arange(len(Y)), Y]
    return losses.mean() + L2 * np.square(np.asarray(w, np.float64)).sum()


def softmargin(solver):
    def run(iterations):
        command = [ROOT / "target/release/softmargin", "train", "--json", *DATA, "--solver", solver]
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
    w = torch.zeros(CLASSES, X.shape[1], requires_grad=True)
    b = torch.zeros(CLASSES, requires_grad=True)
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
    "softmargin, L-BFGS with curvature": (softmargin("lbfgs"), 6),
    "softmargin, Newton": (softmargin("newton"), 2),
    "Intel's extension of scikit-learn, lbfgs": (intel, 40),
    "scikit-learn, lbfgs": (scikit_learn("lbfgs"), 40),
    "scikit-learn, newton-cg": (scikit_learn("newton-cg"), 5),
    "scikit-learn, saga": (scikit_learn("saga"), 10),
    "PyTorch, LBFGS": (pytorch, 40),
}

if TARGET is None:
    TARGET = 1.0001 * softmargin("newton")(100)[1]
print(f"{len(Y)} × {X.shape[1]} × {CLASSES}, λ = {L2}, F ≤ {TARGET:.6f}\n")
print("| solver | iterations | F | seconds | times as long |\n|---|--:|--:|--:|--:|", flush=True)
ours = None
for name, (run, iterations) in SOLVERS.items():
    run(2)
    while True:
        print(f"{name}: {iterations} iterations ...", end="\r", file=sys.stderr)
        seconds, f = run(iterations)
        if f <= TARGET or seconds > LIMIT:
            break
        iterations += max(1, iterations // 8)
    print(" " * 70, end="\r", file=sys.stderr)
    ours = ours or seconds
    there = "" if f <= TARGET else "more than "
    print(f"| {name} | {iterations} | {f:.6f} | {there}{seconds:.2f} | {there}{seconds / ours:.1f} × |", flush=True)
