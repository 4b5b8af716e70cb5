"""The objectives of other libraries, computed or minimised by themselves, for the page of conversions: LIBLINEAR, by
itself and as scikit-learn's LinearSVC, and PyTorch's losses if there is PyTorch. Writes data and models into a folder
and prints as JSON by which arguments of softmargin each is had."""

import json
import sys
from pathlib import Path

import numpy as np
from liblinear.liblinearutil import parameter, problem, train
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.svm import LinearSVC

folder = Path(sys.argv[1])
random = np.random.default_rng(1)


def save(name, **arrays):
    for key, array in arrays.items():
        np.save(folder / f"{name}_{key}.npy", array)


# Models whose objective is to be the same: name, arguments, value.
values = []


def pytorch():
    import torch
    from torch.nn.functional import cross_entropy, multi_margin_loss

    n, d, c = 60, 5, 4
    x, w, b = (random.normal(size=size).astype(np.float32) for size in [(n, d), (c, d), c])
    y = random.integers(c, size=n)
    save("torch", features=x, labels=y, weight=w, bias=b)
    of_class = np.array([0.5, 2.0, 1.0, 0.25])
    table = np.column_stack([x, of_class[y], y])
    header = ",".join([f"x{l}" for l in range(d)] + ["weight", "label"])
    np.savetxt(folder / "weighted.csv", table, delimiter=",", header=header, comments="", fmt="%.9g")
    s, y = torch.from_numpy(x.astype(float) @ w.T.astype(float) + b), torch.from_numpy(y)
    weights = torch.from_numpy(of_class)
    for name, arguments, value in [
        ("multi_margin_loss", ["--loss", "hinge", "--margin", "0.7"], c * multi_margin_loss(s, y, margin=0.7)),
        (
            "multi_margin_loss(p=2)",
            ["--loss", "squared-hinge", "--margin", "0.7"],
            c * multi_margin_loss(s, y, p=2, margin=0.7),
        ),
        ("cross_entropy", ["--loss", "cross-entropy"], cross_entropy(s, y)),
        (
            "cross_entropy(label_smoothing)",
            ["--label-smoothing", "0.3"],
            cross_entropy(s, y, label_smoothing=0.3),
        ),
        ("cross_entropy(weight)", ["weighted"], cross_entropy(s, y, weight=weights)),
    ]:
        values.append({"name": name, "arguments": arguments, "value": float(value)})


# Models that are to be optimal: name, arguments, and their files.
fits = []


def fitted(name, data, arguments, l2, w, b):
    w, b = np.atleast_2d(w), np.atleast_1d(b)
    if len(w) == 1:
        w, b = np.vstack([-w / 2, w / 2]), np.concatenate([-b / 2, b / 2])
    save(name, weight=w, bias=b)
    fits.append({"name": name, "data": data, "arguments": [*arguments, "--l2", repr(l2)]})


def liblinear(name, data, arguments, solver, c, l2, x, y):
    # A bias by a feature so large that it is next to free.
    scale = 30.0
    data_with_bias = np.column_stack([x, np.full(len(x), scale)]).astype(float)
    model = train(problem(y.astype(float), data_with_bias), parameter(f"-s {solver} -c {c} -e 1e-8 -q"))
    labels = model.get_labels()
    n_rows = 1 if len(labels) == 2 and solver != 4 else len(labels)
    w = np.array([model.w[i] for i in range(n_rows * (x.shape[1] + 1))]).reshape(-1, n_rows).T
    # Rows are in the order of the labels as they come; of two classes, the row is that of the first one.
    if n_rows == 1:
        w = w if labels[0] == 1 else -w
    else:
        w = w[np.argsort(labels)]
    fitted(name, data, arguments, l2, w[:, :-1], w[:, -1] * scale)


cancer, wine = load_breast_cancer(), load_wine()
tables = {}
for name, table in [("cancer", cancer), ("wine", wine)]:
    x = ((table.data - table.data.mean(axis=0)) / table.data.std(axis=0)).astype(np.float32)
    tables[name] = x, table.target
    save(name, features=x, labels=table.target.astype(np.int64))

c = 0.05
x, y = tables["cancer"]
l2 = 1 / (c * len(x))
for solver, loss in [(0, "cross-entropy"), (2, "squared-hinge"), (1, "squared-hinge")]:
    liblinear(f"liblinear_s{solver}", "cancer", ["--loss", loss], solver, c, l2, x, y)
svc = LinearSVC(C=c, loss="squared_hinge", dual=False, tol=1e-8, intercept_scaling=30.0, max_iter=10_000)
svc.fit(x, y)
fitted("linear_svc", "cancer", ["--loss", "squared-hinge"], l2, svc.coef_, svc.intercept_)

x, y = tables["wine"]
l2 = 1 / (2 * c * len(x))
liblinear("liblinear_s4", "wine", ["--loss", "crammer-singer"], 4, c, l2, x, y)
svc = LinearSVC(C=c, multi_class="crammer_singer", tol=1e-8, intercept_scaling=30.0, max_iter=100_000)
svc.fit(x, y)
fitted("linear_svc_crammer_singer", "wine", ["--loss", "crammer-singer"], l2, svc.coef_, svc.intercept_)

try:
    pytorch()
except ModuleNotFoundError:
    pass
json.dump({"values": values, "fits": fits}, sys.stdout)
