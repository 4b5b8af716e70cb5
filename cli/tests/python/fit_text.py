"""Writes a twentieth of WordNet's glosses to train on and as many to test on into a folder, as TF-IDF of their words,
in SVMlight and as SciPy saves sparse rows, and prints λ and the objective and the accuracy of scikit-learn's optimum as
JSON."""

import json
import sys
from pathlib import Path

import numpy as np
from scipy.sparse import save_npz
from sklearn.datasets import dump_svmlight_file
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from wordnet import glosses

folder = Path(sys.argv[1])
texts, files = glosses()
vectorizer = TfidfVectorizer(min_df=2, dtype=np.float32)
x, x_test = vectorizer.fit_transform(texts[::20]), vectorizer.transform(texts[10::20])
y, y_test = files[::20], files[10::20]
dump_svmlight_file(x, y, str(folder / "train.svm"))
dump_svmlight_file(x_test, y_test, str(folder / "test.svm"))
save_npz(folder / "train.npz", x)
np.save(folder / "labels.npy", y)

n, c = len(y), 5.0
l2 = 1 / (2 * c * n)
model = LogisticRegression(C=c, solver="newton-cg", tol=1e-8).fit(x.astype(np.float64), y)
weight = model.coef_
scores = x @ weight.T + model.intercept_
losses = np.logaddexp.reduce(scores, axis=1) - scores[np.arange(n), np.searchsorted(model.classes_, y)]
fitted = {
    "l2": l2,
    "objective": losses.mean() + l2 * np.square(weight).sum(),
    "accuracy": model.score(x_test, y_test),
    "shape": x.shape,
    "classes": len(model.classes_),
}
json.dump(fitted, sys.stdout)
