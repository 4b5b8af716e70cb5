"""Seconds of cross-validation: ten λ on five folds of Fashion-MNIST, cross-entropy, float32.

`softmargin train --cv 5`, beside scikit-learn's LogisticRegressionCV with the same λ, in one run; both start the fit for
a λ from the one before. Their folds are drawn by each itself, so the losses differ by about their standard error.

usage: cv.py [ROWS [FOLDER]]   the first ROWS images (all by default) of the IDX files in a folder
                               (/usr/share/datasets/fashion-mnist by default), pixels / 255
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
from sklearn.linear_model import LogisticRegressionCV

warnings.filterwarnings("ignore")
PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "target/release/softmargin"
PATH = [1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 3e-4, 1e-4, 3e-5]
FOLDS = 5


def idx(path, offset):
    return np.frombuffer(gzip.open(path).read(), np.uint8, offset=offset)


rows = int(sys.argv[1]) if len(sys.argv) > 1 else 60000
folder = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "/usr/share/datasets/fashion-mnist")
images = idx(folder / "train-images-idx3-ubyte.gz", 16).reshape(-1, 784)[:rows]
X = images.astype(np.float32) / np.float32(255)
y = idx(folder / "train-labels-idx1-ubyte.gz", 8)[:rows].astype(np.int64)


def softmargin():
    with tempfile.TemporaryDirectory() as folder:
        data, labels = pathlib.Path(folder) / "x.npy", pathlib.Path(folder) / "y.npy"
        np.save(data, X)
        np.save(labels, y)
        command = [PROGRAM, "train", "--json", "--data", data, "--labels", labels, "--cv", str(FOLDS)]
        command += ["--l2-path", ",".join(map(str, PATH))]
        output = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    validated = output["cross_validation"]
    return validated["seconds"], validated["l2"], min(point["loss"] for point in validated["path"])


def scikit_learn(solver):
    training = len(y) * (FOLDS - 1) / FOLDS
    cs = [1 / (2 * l2 * training) for l2 in PATH]
    model = LogisticRegressionCV(Cs=cs, cv=FOLDS, solver=solver, scoring="neg_log_loss", refit=False, max_iter=1000)
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    scores = np.asarray(next(iter(model.scores_.values())) if isinstance(model.scores_, dict) else model.scores_)
    losses = -scores.reshape(FOLDS, -1).mean(0)
    return seconds, PATH[int(losses.argmin())], losses.min()


print(f"{len(y)} × 784 × 10, {len(PATH)} λ, {FOLDS} folds\n")
print("| | seconds | λ | mean loss of held-out samples | times as long |\n|---|--:|--:|--:|--:|", flush=True)
ours = None
for name, run in {
    "softmargin": softmargin,
    "scikit-learn, lbfgs": lambda: scikit_learn("lbfgs"),
    "scikit-learn, newton-cg": lambda: scikit_learn("newton-cg"),
}.items():
    seconds, l2, loss = run()
    ours = ours or seconds
    print(f"| {name} | {seconds:.2f} | {l2} | {loss:.4f} | {seconds / ours:.1f} × |", flush=True)
