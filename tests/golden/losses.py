"""Writes losses.json: the squared hinge, the loss of Crammer and Singer, cross-entropy with smoothed labels and the binary
losses, on the inputs of cases.json, from their definitions with 60 digits (mpmath). Of the binary losses, the model is the
first row, and the labels are odd or even. Run in this folder."""

import json

from mpmath import exp, log, mp, mpf

mp.dps = 60

SIZES = ["1x1x1", "1x1x2", "2x3x2", "5x4x3", "7x16x10", "33x7x37", "9x129x4", "3x2x130"]
KINDS = ["weighted", "zeros", "scores-1e4", "scores-1e30", "tiny", "dyadic-kinks"]


def squared_hinge(s, y, margin, _):
    violations = [max(0, s_j - s[y] + margin) if j != y else mpf(0) for j, s_j in enumerate(s)]
    ds = [2 * v for v in violations]
    ds[y] = -sum(ds)
    return sum(v * v for v in violations), ds


def crammer_singer(s, y, margin, _):
    ds = [mpf(0)] * len(s)
    others = [j for j in range(len(s)) if j != y]
    if not others:
        return mpf(0), ds
    top = max(others, key=lambda j: s[j])  # the first of equals
    violation = s[top] - s[y] + margin
    if violation > 0:
        ds[top], ds[y] = mpf(1), mpf(-1)
    return max(mpf(0), violation), ds


def cross_entropy(s, y, _, smoothing):
    c, top = len(s), max(s)
    e = [exp(s_j - top) for s_j in s]
    z = sum(e)
    asked = [smoothing / c + (1 - smoothing if j == y else 0) for j in range(c)]
    loss = sum(q * (top + log(z) - s_j) for q, s_j in zip(asked, s))
    return loss, [e_j / z - q for e_j, q in zip(e, asked)]


def logistic(s, y, _, __):
    t = 2 * y - 1
    return log(1 + exp(-t * s[0])), [-t / (1 + exp(t * s[0]))]


def binary_hinge(s, y, margin, _):
    t = 2 * y - 1
    violation = margin - t * s[0]
    return max(mpf(0), violation), [mpf(-t if violation > 0 else 0)]


def binary_squared_hinge(s, y, margin, _):
    t = 2 * y - 1
    violation = max(mpf(0), margin - t * s[0])
    return violation * violation, [-2 * t * violation]


BINARY = {"logistic": logistic, "binary_hinge": binary_hinge, "binary_squared_hinge": binary_squared_hinge}
LOSSES = {"squared_hinge": squared_hinge, "crammer_singer": crammer_singer, "cross_entropy": cross_entropy, **BINARY}


def evaluate(case, loss, smoothing):
    n, d, c = case["n"], case["d"], case["c"]
    exact = lambda values: [mpf(value) for value in values]
    x, w, b, l2 = exact(case["x"]), exact(case["w"]), exact(case["b"]), mpf(case["l2"])
    labels = case["y"]
    if loss in BINARY:
        c, w, b, labels = 1, w[:d], b[:1], [y % 2 for y in labels]
    weights = exact(case.get("sample_weights") or [1] * n)
    total, dw, db = mpf(0), [2 * l2 * w_kl for w_kl in w], [mpf(0)] * c
    for i, y in enumerate(labels):
        row = x[i * d : (i + 1) * d]
        s = [sum(a * v for a, v in zip(w[k * d : (k + 1) * d], row)) + b[k] for k in range(c)]
        sample_loss, ds = LOSSES[loss](s, y, mpf(case["margin"]), mpf(smoothing))
        share = weights[i] / sum(weights)
        total += share * sample_loss
        for k in range(c):
            db[k] += share * ds[k]
            for l in range(d):
                dw[k * d + l] += share * ds[k] * row[l]
    total += l2 * sum(w_kl * w_kl for w_kl in w)
    return {"loss": float(total), "d_weights": [float(v) for v in dw], "d_bias": [float(v) for v in db]}


def main():
    with open("cases.json") as file:
        cases = {case["name"]: case for case in json.load(file)}
    lines = []
    for loss in LOSSES:
        # Squares of 1e30 are beyond f32.
        kinds = [kind for kind in SIZES + KINDS if not ("squared" in loss and kind == "scores-1e30")]
        for i, kind in enumerate(kinds):
            smoothing = 0.0 if loss != "cross_entropy" else [0.1, 0.5, 1.0][i % 3]
            name = f"{loss}-{kind}"
            inputs = f"cross_entropy-{kind}" if loss in ("cross_entropy", "logistic") else f"hinge-{kind}"
            expected = evaluate(cases[inputs], loss, smoothing)
            if smoothing:
                name = f"{name}-smoothed"
            line = {"name": name, "inputs": inputs, "loss": loss, "label_smoothing": smoothing, "expected": expected}
            lines.append(json.dumps(line))
    with open("losses.json", "w") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


if __name__ == "__main__":
    main()
