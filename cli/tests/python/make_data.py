"""Writes features and labels, a model that scikit-learn fits to them, and what it predicts, into a folder."""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression

folder = Path(sys.argv[1])
wine = load_wine()
np.save(folder / "features.npy", wine.data.astype(np.float32))
np.save(folder / "labels.npy", wine.target.astype(np.int64))

scale = wine.data.std(axis=0)
fitted = LogisticRegression(max_iter=1000).fit(wine.data / scale, wine.target)
np.save(folder / "coef.npy", fitted.coef_ / scale)
np.save(folder / "intercept.npy", fitted.intercept_)
labels = fitted.predict(wine.data / scale)
(folder / "expected.csv").write_text("".join(f"{line}\n" for line in ["label", *labels]))
