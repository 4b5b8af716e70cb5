#!/usr/bin/env python3
"""Times one evaluation of loss, dW and db of sparse rows by scikit-learn's LinearModelLoss, which LogisticRegression
calls for each step of its solvers, beside softmargin's on data of the same shapes and distribution, in the same run.

    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    peers/bin/python benches/peers/sparse.py

Cross-entropy, float32, random rows with features as frequent as words are. Times are the least of a few seconds, on
one thread and on all; scikit-learn's products of sparse matrices have one thread in any case.
"""

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np
import scipy.sparse
from sklearn._loss import HalfMultinomialLoss
from sklearn.linear_model._linear_loss import LinearModelLoss
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).resolve().parents[2]
BENCH = ["cargo", "bench", "--quiet", "--manifest-path", ROOT / "Cargo.toml", "--bench", "sparse"]
SECONDS = 3


def scikit_learn(n, d, words, c, threads):
    random = np.random.default_rng(0)
    frequencies = np.arange(1, d + 1) ** -0.9
    columns = random.choice(d, n * words, p=frequencies / frequencies.sum())
    entries = np.ones(n * words, np.float32), (np.repeat(np.arange(n), words), columns)
    x = scipy.sparse.csr_matrix(entries, shape=(n, d))
    x.sum_duplicates()
    x.data = random.random(x.nnz, dtype=np.float32)
    y = random.integers(0, c, n).astype(np.float32)
    loss = LinearModelLoss(HalfMultinomialLoss(n_classes=c), fit_intercept=True)
    coefficients = 0.02 * np.asfortranarray(random.random((c, d + 1), dtype=np.float32) - np.float32(0.5))
    least, end = np.inf, time.perf_counter() + SECONDS
    with threadpool_limits(threads):
        while time.perf_counter() < end or least == np.inf:
            start = time.perf_counter()
            loss.loss_gradient(coefficients, x, y, l2_reg_strength=2e-4, n_threads=threads)
            least = min(least, time.perf_counter() - start)
    return 1e3 * least


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--bench", nargs="+", default=BENCH, help="what runs softmargin's part (default: cargo bench)")
    arguments = parser.parse_args()
    lines = subprocess.run(arguments.bench, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    print("| rows × features, entries, classes | threads | softmargin | scikit-learn | times as long |")
    print("|---|--:|--:|--:|--:|")
    for line in lines[1:]:
        n, d, words, entries, c, threads = map(int, line.split()[:-1])
        ours = float(line.split()[-1])
        theirs = scikit_learn(n, d, words, c, threads)
        shape = f"{n} × {d}, {entries / 1e6:.2f} M, {c}"
        print(f"| {shape} | {threads} | {ours:.1f} ms | {theirs:.1f} ms | {theirs / ours:.1f} × |", flush=True)


if __name__ == "__main__":
    main()
