#!/usr/bin/env python3
"""Seconds to a trained model of sparse text, on one thread and in one run: the glosses of WordNet as TF-IDF of their
words, by softmargin, scikit-learn and LIBLINEAR.

    apt-get install wordnet-base
    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release
    peers/bin/python benches/peers/text.py

Every objective is what C = 1 stands for in all three: the mean loss + λ ΣW², with λ = 1/(2N) for three classes or more
and 1/N for two, and a free bias. A solver is run for more and more iterations, or to smaller and smaller tolerances,
from zero every time, until its model is within a thousandth of the least objective that is known; the time is that of
its last run. F is computed for all of them by one function, in float64. scikit-learn and softmargin compute in float32,
LIBLINEAR and LinearSVC in float64.

Seconds are those of the processor, which other work on the machine changes least. Those of softmargin are of the whole
program, which also reads the file and predicts the training samples.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

# Read when the libraries are loaded.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import scipy.sparse  # noqa: E402
from liblinear.liblinearutil import parameter, problem, train  # noqa: E402
from safetensors.numpy import load_file  # noqa: E402
from sklearn.datasets import dump_svmlight_file  # noqa: E402
from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.svm import LinearSVC  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "cli/tests/python"))
from wordnet import glosses  # noqa: E402

warnings.filterwarnings("ignore")


class Problem:
    """Samples to train on and to test on, and the files of the former."""

    def __init__(self, folder, name, x, y, x_test, y_test):
        self.x, self.y, self.x_test, self.y_test = x, y, x_test, y_test
        self.n_classes = y.max() + 1
        self.l2 = 1 / ((1 if self.n_classes == 2 else 2) * len(y))
        self.model, data = folder / "model", folder / name
        if scipy.sparse.issparse(x):
            dump_svmlight_file(x, y, str(data))
            self.files = ["--data", data]
        else:
            np.save(f"{data}.npy", x)
            np.save(f"{data}-labels.npy", y)
            self.files = ["--data", f"{data}.npy", "--labels", f"{data}-labels.npy"]

    def objective(self, loss, w, b):
        s = self.x.astype(np.float64) @ w.T + b
        rows = np.arange(len(s))
        s -= s[rows, self.y][:, None]
        if loss == "cross-entropy":
            top = s.max(1)
            losses = np.log(np.exp(s - top[:, None]).sum(1)) + top
        else:
            s += 1
            s[rows, self.y] = 0
            losses = np.square(np.maximum(s, 0)).sum(1) if loss == "squared-hinge" else s.max(1)
        return losses.mean() + self.l2 * np.square(w).sum()

    def accuracy(self, w, b):
        return np.mean((self.x_test @ w.T + b).argmax(1) == self.y_test)


def text(folder):
    """All 45 files of the lexicographers, and whether a file is one of nouns."""
    texts, files = glosses()
    test = np.arange(len(texts)) % 5 == 0
    vectorizer = TfidfVectorizer(min_df=2, sublinear_tf=True, dtype=np.float32)
    x = vectorizer.fit_transform([text for text, held in zip(texts, test) if not held])
    x_test = vectorizer.transform([text for text, held in zip(texts, test) if held])
    noun = ((files >= 3) & (files <= 28)).astype(int)
    return [Problem(folder, name, x, y[~test], x_test, y[test]) for name, y in (("files", files), ("nouns", noun))]


def letters(folder):
    """Of the size of the UCI's letters: 16 whole numbers from 0 to 15, around a centre for each class, by 15."""
    random = np.random.default_rng(1)
    centres = random.uniform(2, 13, (26, 16))
    y = random.integers(0, 26, 25_000)
    x = np.clip(np.rint(centres[y] + 2.5 * random.standard_normal((len(y), 16))), 0, 15).astype(np.float32) / 15
    return Problem(folder, "letters", x[5000:], y[5000:], x[:5000], y[:5000])


def of_each_class(w, b):
    """Models of two classes that have a single row are rows of opposite signs."""
    w, b = np.atleast_2d(np.asarray(w, np.float64)), np.atleast_1d(np.asarray(b, np.float64))
    return (np.vstack([-w / 2, w / 2]), np.concatenate([-b / 2, b / 2])) if len(w) == 1 else (w, b)


def softmargin(limit_name, *options):
    def run(p, loss, limit):
        command = [arguments.program, "train", "--json", "--threads", "1", "--loss", loss, "--l2", repr(p.l2)]
        command += [*p.files, "--out", p.model, *options, limit_name, str(limit)]
        result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        tensors = load_file(p.model)
        counts = f"{result['iterations']} ({result['evaluations']} evaluations)"
        return tensors["weight"], tensors["bias"], result["iterations"] if "dual" in options else counts

    return run


def scikit_learn(make):
    """An estimator, made for a limit."""

    def run(p, loss, limit):
        model = make(limit).fit(p.x, p.y)
        return model.coef_, model.intercept_, np.max(model.n_iter_)

    return run


def liblinear(solver, *flags, bias=1):
    """To a tolerance; the bias is the weight of a feature of this value."""

    def run(p, loss, tolerance):
        options = f"-q -c 1 -s {solver} -e {tolerance} -B {bias} {' '.join(flags)}"
        model = train(problem(p.y.astype(float), p.x), parameter(options))
        labels, rows = model.get_labels(), p.n_classes if solver == 4 else 1
        w = np.array(model.w[: rows * (p.x.shape[1] + 1)]).reshape(-1, rows).T
        # Rows are in the order in which labels come; the single one of two classes is that of the first.
        w = w[np.argsort(labels)] if rows > 1 else w * (1 if labels[0] == 1 else -1)
        return w[:, :-1], w[:, -1] * bias, f"-e {tolerance}"

    return run


def logistic(solver):
    return scikit_learn(lambda n: LogisticRegression(solver=solver, max_iter=n, tol=1e-9))


def linear_svc(scale=1.0, **options):
    return scikit_learn(
        lambda tolerance: LinearSVC(tol=tolerance, max_iter=100_000, intercept_scaling=scale, **options)
    )


NEWTON = [1, 2, 3, 4, 5, 6, 7, 8, 10]
TOLERANCES = [1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4]
BY_DUAL = softmargin("--tolerance", "--solver", "dual")
BY_LBFGS = softmargin("--max-iter", "--solver", "lbfgs")
BY_NEWTON = softmargin("--max-iter", "--solver", "newton")


def tables(folder):
    """What each table is of: its problem, loss, least known objective and solvers with their limits."""
    files, nouns = text(folder)
    yield (
        "Two classes, nouns and others",
        *(nouns, "cross-entropy", 0.291487),
        {
            "softmargin, L-BFGS": (BY_LBFGS, range(6, 100, 2)),
            "softmargin, Newton": (BY_NEWTON, NEWTON),
            "LIBLINEAR, Newton (`-s 0 -R`)": (liblinear(0, "-R"), TOLERANCES),
            "scikit-learn, lbfgs": (logistic("lbfgs"), range(20, 300, 5)),
            "scikit-learn, newton-cg": (logistic("newton-cg"), NEWTON),
            "scikit-learn, saga": (logistic("saga"), range(5, 100, 5)),
        },
    )
    yield (
        "Two classes, nouns and others",
        *(nouns, "squared-hinge", 0.223289),
        {
            "softmargin, L-BFGS": (BY_LBFGS, range(10, 200, 5)),
            "softmargin, Newton": (BY_NEWTON, NEWTON),
            "LIBLINEAR, Newton (`-s 2 -R`)": (liblinear(2, "-R"), TOLERANCES),
            "scikit-learn, LinearSVC": (linear_svc(dual=False), TOLERANCES),
        },
    )
    yield (
        "Letters",
        *(letters(folder), "crammer-singer", 0.100983),
        {
            "softmargin, dual ascent": (BY_DUAL, TOLERANCES),
            "LIBLINEAR, dual (`-s 4 -B 10`)": (liblinear(4, bias=10), TOLERANCES),
            "scikit-learn, LinearSVC": (linear_svc(10, multi_class="crammer_singer"), TOLERANCES),
        },
    )
    yield (
        "45 classes",
        *(files, "crammer-singer", 0.402381),
        {
            "softmargin, dual ascent": (BY_DUAL, TOLERANCES),
            "LIBLINEAR, dual (`-s 4`)": (liblinear(4), TOLERANCES),
            "scikit-learn, LinearSVC": (linear_svc(multi_class="crammer_singer"), TOLERANCES),
        },
    )
    yield (
        "45 classes",
        *(files, "cross-entropy", 1.368322),
        {
            "softmargin, L-BFGS": (BY_LBFGS, range(30, 300, 5)),
            "softmargin, Newton": (BY_NEWTON, range(3, 20)),
            "scikit-learn, lbfgs": (logistic("lbfgs"), range(130, 300, 10)),
            "scikit-learn, newton-cg": (logistic("newton-cg"), range(3, 20)),
            "scikit-learn, saga": (logistic("saga"), range(4, 100, 2)),
        },
    )


def processor_seconds():
    """Of this process and of those that it has waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def table(title, p, loss, least, solvers):
    target = 1.001 * least
    print(f"\n{title}, {' × '.join(map(str, p.x.shape))} × {p.n_classes}, {loss}, F ≤ {target:.6f}:\n")
    print("| solver | iterations | F | right of the test | seconds | times as long |")
    print("|---|--:|--:|--:|--:|--:|", flush=True)
    ours = None
    for name, (run, limits) in solvers.items():
        for limit in limits:
            start = processor_seconds()
            w, b, iterations = run(p, loss, limit)
            seconds = processor_seconds() - start
            w, b = of_each_class(w, b)
            f = p.objective(loss, w, b)
            print(f"{name}, limit {limit}: F {f:.6f} after {seconds:.2f} s", file=sys.stderr)
            if f <= target or seconds > arguments.limit:
                break
        ours = ours or seconds
        than = "" if f <= target else "more than "
        share = f"{100 * p.accuracy(w, b):.1f} %"
        print(
            f"| {name} | {iterations} | {f:.6f} | {share} | {than}{seconds:.2f} | {than}{seconds / ours:.1f} × |",
            flush=True,
        )


parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
parser.add_argument("--program", default=ROOT / "target/release/softmargin", help="softmargin (default: %(default)s)")
parser.add_argument("--limit", type=float, default=120, help="seconds after which a solver is not run for longer")
arguments = parser.parse_args()
with tempfile.TemporaryDirectory() as folder:
    for each in tables(Path(folder)):
        table(*each)
