"""Writes tables of two and of three classes into a folder, fits scikit-learn's LogisticRegression to each at the
C that stands for an L2 coefficient λ of softmargin, and prints its models and their objectives by softmargin's
formula as JSON."""

import json
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression

folder, l2 = Path(sys.argv[1]), float(sys.argv[2])
fitted = {}
for name, load in [("cancer", load_breast_cancer), ("wine", load_wine), ("iris", load_iris)]:
    table = load()
    x = ((table.data - table.data.mean(axis=0)) / table.data.std(axis=0)).astype(np.float32)
    np.save(folder / f"{name}.npy", x)
    np.save(folder / f"{name}_labels.npy", table.target.astype(np.int64))

    n, n_classes = len(x), len(table.target_names)
    # The single row of two classes counts half of what two rows do.
    c = 1 / (l2 * n) if n_classes == 2 else 1 / (2 * l2 * n)
    model = LogisticRegression(C=c, tol=1e-10, max_iter=100_000)
    model.fit(x.astype(np.float64), table.target)
    weight, bias = model.coef_, model.intercept_
    if n_classes == 2:
        weight, bias = np.vstack([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    scores = x @ weight.T + bias
    losses = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(n), table.target]
    objective = losses.mean() + l2 * np.square(weight).sum()
    fitted[name] = {"objective": objective, "weight": weight.tolist(), "bias": bias.tolist()}

json.dump(fitted, sys.stdout)
