import multiprocessing
import threading
import tracemalloc
from functools import partial

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from softmargin import (
    Evaluator,
    HingeClassifier,
    Partial,
    PartialTree,
    SoftmaxClassifier,
    SoftmaxClassifierCV,
    hessian_product,
    lbfgs,
    loss_and_gradient,
)

LOSSES = ["cross_entropy", "hinge", "squared_hinge", "crammer_singer"]
SMOOTH = ["cross_entropy", "squared_hinge"]


def problem(dtype=np.float64, n=57, d=11, c=5):
    random = np.random.default_rng(7)
    X = random.normal(size=(n, d)).astype(dtype)
    W, b = random.normal(size=(c, d)).astype(dtype), random.normal(size=c).astype(dtype)
    return X, random.integers(0, c, n), W, b


def reference(X, y, W, b, loss, l2=0.0, margin=1.0, weights=None):
    """By the definitions, in float64."""
    X, W, b = (part.astype(np.float64) for part in (X, W, b))
    weights = np.ones(len(y)) if weights is None else weights
    scores, rows = X @ W.T + b, np.arange(len(y))
    own = scores[rows, y][:, None]
    if loss == "cross_entropy":
        top = scores.max(1, keepdims=True)
        losses = (top + np.log(np.exp(scores - top).sum(1, keepdims=True)) - own)[:, 0]
        slopes = np.exp(scores - own - losses[:, None])
        slopes[rows, y] -= 1
    else:
        violations = np.maximum(0, scores - own + margin)
        violations[rows, y] = 0
        if loss == "crammer_singer":
            largest = np.arange(W.shape[0])[None] == violations.argmax(1)[:, None]
            violations = violations * largest
        power = 2 if loss == "squared_hinge" else 1
        losses = (violations**power).sum(1)
        slopes = 2 * violations if power == 2 else (violations > 0).astype(float)
        slopes[rows, y] = -slopes.sum(1)
    slopes *= weights[:, None] / weights.sum()
    loss = (weights * losses).sum() / weights.sum() + l2 * (W**2).sum()
    return loss, slopes.T @ X + 2 * l2 * W, slopes.sum(0)


def assert_equal(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype,tolerance", [(np.float32, 2e-6), (np.float64, 1e-13)])
def test_agrees_with_the_definition(loss, dtype, tolerance):
    X, y, W, b = problem(dtype)
    weights = np.linspace(0.5, 2.0, len(y)).astype(dtype)
    for sample_weight in [None, weights]:
        ours = loss_and_gradient(X, y, W, b, loss=loss, l2=0.01, sample_weight=sample_weight)
        theirs = reference(X, y, W, b, loss, 0.01, weights=sample_weight)
        assert isinstance(ours[0], float) and ours[1].dtype == ours[2].dtype == dtype
        for a, e in zip(ours, theirs):
            np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * np.abs(theirs[1]).max() * 5)
        evaluator = Evaluator(loss=loss, l2=0.01)
        assert_equal(evaluator.loss_and_gradient(X, y, W, b, sample_weight=sample_weight), ours)
        assert evaluator.loss(X, y, W, b, sample_weight=sample_weight) == ours[0]


def test_label_smoothing():
    X, y, W, b = problem()
    smooth, plain = (loss_and_gradient(X, y, W, b, label_smoothing=e)[0] for e in (0.2, 0.0))
    every = np.mean([loss_and_gradient(X, np.full_like(y, k), W, b)[0] for k in range(5)])
    assert smooth == pytest.approx(0.8 * plain + 0.2 * every)


def direction(W, b):
    random = np.random.default_rng(8)
    return random.normal(size=W.shape).astype(W.dtype), random.normal(size=b.shape).astype(b.dtype)


@pytest.mark.parametrize("loss", SMOOTH)
@pytest.mark.parametrize("weighted", [False, True])
def test_hessian_products_are_differences_of_gradients(loss, weighted):
    X, y, W, b = problem()
    dW, db = direction(W, b)
    options = {"sample_weight": np.linspace(0.5, 2.0, len(y)) if weighted else None}
    objective = {"loss": loss, "l2": 0.01, "margin": 1.5}
    step = 1e-6
    ahead, behind = (
        loss_and_gradient(X, y, W + s * dW, b + s * db, **objective, **options) for s in (step, -step)
    )
    product = hessian_product(X, y, W, b, dW, db, **objective, **options)
    for h, a, e in zip(product, ahead[1:], behind[1:]):
        np.testing.assert_allclose(h, (a - e) / (2 * step), rtol=1e-6, atol=1e-7)
    evaluator = Evaluator(**objective)
    assert_equal(evaluator.hessian_product(X, y, W, b, dW, db, **options), product)
    # And the evaluator goes on as before.
    assert_equal(
        evaluator.loss_and_gradient(X, y, W, b, **options), loss_and_gradient(X, y, W, b, **objective, **options)
    )


def test_hessian_products_of_smoothed_labels_and_of_types():
    X, y, W, b = problem()
    dW, db = direction(W, b)
    expected = hessian_product(X, y, W, b, dW, db)
    # The Hessian of cross-entropy does not depend on the labels.
    for a, e in zip(hessian_product(X, y, W, b, dW, db, label_smoothing=0.2), expected):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)
    single = hessian_product(*(part.astype(np.float32) for part in (X,)), y, W, b, dW, db)
    assert single[0].dtype == single[1].dtype == np.float32
    for a, e in zip(single, expected):
        np.testing.assert_allclose(a, e, atol=1e-6)
    for a, e in zip(hessian_product(sparse.csr_array(X), y, W, b, dW, db), expected):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)
    assert_equal(hessian_product(X.tolist(), y, W, b, dW.tolist(), np.repeat(db, 2)[::2]), expected)
    out = np.full_like(W, 9), np.full_like(b, 9)
    product = hessian_product(X, y, W, b, dW, db, out=out)
    assert product[0] is out[0] and product[1] is out[1]
    assert_equal(product, expected)


@pytest.mark.parametrize(
    "change,message",
    [
        ({"loss": "hinge"}, "hinge.*kinks"),
        ({"loss": "crammer_singer"}, "crammer_singer.*kinks"),
        ({"dW": np.zeros((5, 10))}, "direction.*10"),
        ({"dW": np.zeros(11)}, "dW has 1 dimensions"),
        ({"dW": np.zeros((4, 11))}, "dW has 4 rows, one a class, but db has 5 values"),
        ({"db": [0.0, 0.0, 0.0, 0.0, np.inf]}, "direction.*inf"),
        ({"y": [0] * 56 + [5]}, "row 56 has label 5"),
    ],
)
def test_errors_of_hessian_products(change, message):
    X, y, W, b = problem()
    dW, db = direction(W, b)
    out = np.full_like(W, 9), np.full_like(b, 9)
    arguments = {"X": X, "y": y, "W": W, "b": b, "dW": dW, "db": db, "out": out, **change}
    with pytest.raises(ValueError, match=message):
        hessian_product(**arguments)
    assert (out[0] == 9).all() and (out[1] == 9).all()


def layouts(X):
    n, d = X.shape
    wide = np.full((n, d + 3), np.nan, X.dtype)
    wide[:, :d] = X
    tall = np.full((n + 3, d), np.nan, X.dtype, order="F")
    tall[:n] = X
    spread = np.full((2 * n, d), np.nan, X.dtype)
    spread[::2] = X
    columns = np.full((n, 2 * d), np.nan, X.dtype)
    columns[:, ::2] = X
    packed = np.zeros(n, dtype=[("byte", "u1"), ("x", X.dtype, (d,))])
    packed["x"] = X
    shifted = np.zeros(X.nbytes + 1, np.uint8)[1:].view(X.dtype).reshape(X.shape)
    shifted[:] = X
    frozen = X.copy()
    frozen.flags.writeable = False
    return {
        "row padding": wide[:, :d],
        "column padding": tall[:n],
        "every other row": spread[::2],
        "every other column": columns[:, ::2],
        "F": np.asfortranarray(X),
        "reversed": X[::-1][::-1].copy()[::-1][::-1],
        "negative strides": X[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": X.astype(X.dtype.newbyteorder(">")),
        "fields": packed["x"],
        "unaligned": shifted,
        "read-only": frozen,
        "list": X.tolist(),
    }


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_layout(dtype):
    X, y, W, b = problem(dtype)
    expected = loss_and_gradient(X, y, W, b)
    for name, layout in layouts(X).items():
        loss, dW, db = loss_and_gradient(layout, y, W, b)
        assert loss == pytest.approx(expected[0], rel=1e-6), name
        np.testing.assert_allclose(dW, expected[1], rtol=1e-5, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(db, expected[2], rtol=1e-5, atol=1e-7, err_msg=name)
    for W_, b_ in [(np.asfortranarray(W), b), (W[:, ::-1].copy()[:, ::-1], np.repeat(b, 2)[::2])]:
        assert_equal(loss_and_gradient(X, y, W_, b_), expected)


def test_broadcast_and_thin_arrays():
    _, _, W, b = problem()
    row = np.arange(11.0)
    broadcast = np.broadcast_to(row, (4, 11))
    assert_equal(
        loss_and_gradient(broadcast, [0, 1, 2, 3], W, b),
        loss_and_gradient(broadcast.copy(), [0, 1, 2, 3], W, b),
    )
    assert_equal(loss_and_gradient(row[None], [3], W, b), loss_and_gradient([row.tolist()], [3], W, b))
    assert_equal(
        loss_and_gradient(row[:, None], [0] * 11, W[:, :1], b),
        loss_and_gradient(row.reshape(11, 1).copy(), [0] * 11, W[:, :1].copy(), b),
    )


def test_labels_of_any_integer_type():
    X, y, W, b = problem()
    expected = loss_and_gradient(X, y, W, b)
    types = [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64, ">i4"]
    for labels in [y.astype(t) for t in types] + [y.tolist(), np.repeat(y, 2)[::2]]:
        assert_equal(loss_and_gradient(X, labels, W, b), expected)


def test_the_type_of_x_decides_and_then_that_of_w():
    X, y, W, b = problem()
    for x_type, w_type, expected in [
        (np.float32, np.float64, np.float32),
        (np.float64, np.float32, np.float64),
        (np.uint8, np.float32, np.float32),
        (np.int64, np.float64, np.float64),
        (np.float16, np.int64, np.float64),
    ]:
        _, dW, db = loss_and_gradient(np.abs(X).astype(x_type), y, W.astype(w_type), b)
        assert dW.dtype == db.dtype == expected


def test_out():
    X, y, W, b = problem()
    expected = loss_and_gradient(X, y, W, b)
    for out in [
        (np.full_like(W, 9), np.full_like(b, 9)),
        (np.zeros((11, 5)).T, np.zeros(10)[::2]),
    ]:
        loss, dW, db = loss_and_gradient(X, y, W, b, out=out)
        assert dW is out[0] and db is out[1]
        assert_equal((loss, dW, db), expected)
    kept = W.copy()
    for out, message in [
        ((np.zeros((5, 10)), np.zeros(5)), "shapes"),
        ((np.zeros((5, 11), np.float32), np.zeros(5)), "float64"),
        ((np.zeros((5, 11)),), "1 items"),
        ((W, np.zeros(5)), "borrowed"),
    ]:
        with pytest.raises(ValueError, match=message):
            loss_and_gradient(X, y, W, b, out=out)
    for gradient in (loss_and_gradient, Evaluator().loss_and_gradient):
        with pytest.raises(TypeError, match=r"out is to be \(dW, db\): it is no tuple, but .*ndarray"):
            gradient(X, y, W, b, out=np.zeros((5, 11)))
    assert np.array_equal(W, kept)
    X[3, 2] = np.nan
    out = (np.full_like(W, 9), np.full_like(b, 9))
    with pytest.raises(ValueError, match="row 3: feature 2 is NaN"):
        loss_and_gradient(X, y, W, b, out=out)
    assert (out[0] == 9).all() and (out[1] == 9).all()


@pytest.mark.parametrize(
    "change,message",
    [
        ({"y": [0] * 3}, "3 labels for 57 rows"),
        ({"y": [0] * 56 + [5]}, r"row 56 has label 5, but the model has 5 classes \(0 to 4\)"),
        ({"y": [0] * 56 + [-1]}, "row 56 has label -1"),
        ({"y": [0.5] * 57}, "y has dtype float64"),
        ({"y": ["a"] * 57}, "y has dtype <U1"),
        ({"y": [[0]] * 57}, "y has 2 dimensions"),
        ({"X": np.zeros(11)}, "X has 1 dimensions"),
        ({"X": np.zeros((57, 10))}, "the model has 11 features, the data 10"),
        ({"X": np.zeros((0, 11)), "y": []}, "there are no samples"),
        ({"X": np.zeros((57, 11), complex)}, "complex128"),
        ({"X": np.full((57, 11), "1")}, "no real numbers"),
        ({"W": np.zeros(11)}, "W has 1 dimensions"),
        ({"W": np.zeros((0, 11)), "b": np.zeros(0), "y": []}, "57|classes"),
        ({"b": np.zeros(4)}, "W has 5 rows, one a class, but b has 4 values"),
        ({"b": np.full(5, np.inf)}, "the model's bias of class 0 is inf"),
        ({"sample_weight": np.ones(3)}, "3 sample weights for 57 rows"),
        ({"sample_weight": -np.ones(57)}, "row 0 is -1"),
        ({"sample_weight": np.zeros(57)}, "sum to 0"),
        ({"l2": -1.0}, "λ is -1"),
        ({"l2": float("nan")}, "λ is NaN"),
        ({"loss": "hinge", "margin": -1.0}, "margin Δ is -1"),
        ({"loss": "hings"}, "unknown loss \"hings\""),
    ],
)
def test_errors(change, message):
    X, y, W, b = problem()
    with pytest.raises(ValueError, match=message):
        loss_and_gradient(**{"X": X, "y": y, "W": W, "b": b, **change})


@pytest.mark.parametrize("name", ["X", "y", "W", "b", "sample_weight", "dW", "db"])
def test_masked_values_are_refused(name):
    X, y, W, b = problem()
    arrays = {"X": X, "y": y, "W": W, "b": b, "sample_weight": np.ones(len(y)), "dW": W, "db": b}

    def call(mask):
        masked = {**arrays, name: np.ma.MaskedArray(arrays[name], mask)}
        direction = masked.pop("dW"), masked.pop("db")
        loss_and_gradient(**masked)
        Evaluator().accumulate(**masked, partial=Partial(*W.shape), direction=direction)

    call(np.ma.nomask)
    call(np.zeros(arrays[name].shape, bool))
    with pytest.raises(ValueError, match=f"^{name} has masked values"):
        call(np.arange(arrays[name].size).reshape(arrays[name].shape) == 3)


@pytest.mark.parametrize(
    "call,error,message",
    [
        (lambda X, y, W, b: Evaluator(l2=None), TypeError, "^l2: .*real number.*None"),
        (lambda X, y, W, b: Evaluator(label_smoothing="a"), TypeError, "^label_smoothing: .*real number.*str"),
        (lambda X, y, W, b: Evaluator(l2=10**400), ValueError, "^l2 is 1000.*too large"),
        (lambda X, y, W, b: loss_and_gradient(X, y, W, b, margin="a"), TypeError, "^margin: .*real number.*str"),
        (lambda X, y, W, b: hessian_product(X, y, W, b, W, b, l2=[1.0]), TypeError, "^l2: .*real number.*list"),
        (lambda X, y, W, b: lbfgs(None, W, b, tol="x"), TypeError, "^tol: .*real number.*str"),
        (lambda X, y, W, b: lbfgs(None, W, b, ftol=None), TypeError, "^ftol: .*real number.*None"),
        (lambda X, y, W, b: lbfgs(None, W, b, max_iter=-1), ValueError, "^max_iter is -1: .*negative"),
        (lambda X, y, W, b: lbfgs(None, W, b, max_iter=1.5), TypeError, "^max_iter: .*float"),
        (lambda X, y, W, b: lbfgs(None, W, b, sample=X), TypeError, "^sample: .*ndarray.*tuple"),
        (lambda X, y, W, b: Evaluator().accumulate(X, y, W, b, Partial(5, 11), direction=W), TypeError, "^direction: .*tuple"),
        (lambda X, y, W, b: Partial(-1, 2), ValueError, "^n_classes is -1: .*negative"),
        (lambda X, y, W, b: Partial(2, 2**70), ValueError, f"^n_features is {2**70}: .*too"),
        (lambda X, y, W, b: Partial(2, "x"), TypeError, "^n_features: .*str"),
        (lambda X, y, W, b: PartialTree().total(-1), ValueError, "^n_chunks is -1: .*negative"),
    ],
)
def test_arguments_of_another_kind_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(*problem())


def test_weights_that_are_zero_in_single_precision_only():
    X, y, W, b = problem(np.float32)
    weights = np.full(len(y), 1e-60)
    for X, classifier in [(X, SoftmaxClassifier(l2=0.1)), (X.astype(np.float16), HingeClassifier(l2=0.1))]:
        classifiers = [classifier, clone(classifier).set_params(l2=None), SoftmaxClassifierCV(l2s=[0.1], cv=2)]
        for call in [
            lambda: loss_and_gradient(X, y, W, b, sample_weight=weights),
            *(partial(fitted.fit, X, y, weights) for fitted in classifiers),
            lambda: classifier.partial_fit(X, y, sample_weight=weights, classes=range(5)),
        ]:
            with pytest.raises(ValueError, match="sample_weight: row 0 has 1e-60, which is 0 in float32"):
                call()
    # In double precision they are weights as any others.
    X, y, W, b = problem()
    expected = loss_and_gradient(X, y, W, b)
    for a, e in zip(loss_and_gradient(X, y, W, b, sample_weight=weights), expected):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-14)
    with pytest.raises(ValueError, match="sum to 0"):
        loss_and_gradient(X.astype(np.float32), y, W, b, sample_weight=np.zeros(len(y)))


def test_an_evaluator_serves_any_shape_and_type_and_several_threads():
    evaluator = Evaluator(loss="hinge")
    problems = [problem(t, n, d, c) for t in (np.float32, np.float64) for n, d, c in [(3, 2, 2), (300, 17, 9)]]
    expected = [loss_and_gradient(*p, loss="hinge") for p in problems]
    wrong = []

    def work():
        for _ in range(20):
            for p, e in zip(problems, expected):
                if not all(np.array_equal(a, b) for a, b in zip(evaluator.loss_and_gradient(*p), e)):
                    wrong.append(p)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def _loss_in_child(queue, args):
    queue.put(loss_and_gradient(*args)[0])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads():
    args = problem(np.float32, 20_000, 64, 10)
    expected = loss_and_gradient(*args)[0]
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_loss_in_child, args=(queue, args))
    child.start()
    try:
        assert queue.get(timeout=60) == expected
    finally:
        child.kill()


def test_a_memory_map(tmp_path):
    X, y, W, b = problem()
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert_equal(loss_and_gradient(mapped, y, W, b), loss_and_gradient(X, y, W, b))


@pytest.mark.parametrize("stored", [np.uint8, np.int8, np.float16])
@pytest.mark.parametrize("computed", [np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_features_as_they_are_stored(stored, computed, order):
    X, y, W, b = problem(computed)
    X = np.asarray(20 * np.abs(X), dtype=stored, order=order)
    wide = loss_and_gradient(X.astype(computed), y, W, b)
    assert_equal(loss_and_gradient(X, y, W, b), wide)
    # What cannot be read where it lies.
    wide = loss_and_gradient(np.array(X[::-1], dtype=computed, order="C"), y[::-1], W, b)
    assert_equal(loss_and_gradient(X[::-1], y[::-1], W, b), wide)


@pytest.mark.parametrize("stored", [np.uint8, np.float16, np.float32])
def test_no_copy_is_made(stored):
    X, W = np.ones((200_000, 20), stored), np.zeros((2, 20), np.float32)
    y, b = np.zeros(len(X), np.uint8), np.zeros(2, np.float32)
    tracemalloc.start()
    loss_and_gradient(X, y, W, b)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 100_000


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sparse_rows(loss, dtype):
    X, y, W, b = problem(dtype)
    X[np.abs(X) < 1] = 0
    X[3] = 0
    for convert in [sparse.csr_matrix, sparse.csr_array, sparse.csc_matrix, sparse.coo_matrix]:
        loss_value, dW, db = loss_and_gradient(convert(X), y, W, b, loss=loss, l2=0.01)
        dense = loss_and_gradient(X, y, W, b, loss=loss, l2=0.01)
        tolerance = 2e-6 if dtype == np.float32 else 1e-13
        for a, e in zip((loss_value, dW, db), dense):
            np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * 5)
        assert dW.dtype == dtype


def unaligned(array):
    return np.frombuffer(b"-" + array.tobytes(), np.uint8)[1:].view(array.dtype)


def test_sparse_rows_of_all_kinds():
    X, y, W, b = problem(n=3, d=4, c=2)
    # Not sorted, an entry in two parts, an empty row; long indices, and half precision.
    data, indices, indptr = [1.0, 2.0, 0.5, 3.0], [3, 0, 3, 1], [0, 3, 3, 4]
    dense = np.array([[2.0, 0, 0, 1.5], [0, 0, 0, 0], [0, 3.0, 0, 0]])
    right = loss_and_gradient(dense, y, W, b)
    for index, value in [(np.int32, np.float64), (np.int64, np.float16)]:
        parts = np.array(data, value), np.array(indices, index), np.array(indptr, index)
        X = sparse.csr_matrix((3, 4), dtype=np.float64)
        X.data, X.indices, X.indptr = parts
        for a, e in zip(loss_and_gradient(X, y, W, b), right):
            np.testing.assert_allclose(a, e, rtol=1e-13)
    # As another process may send them: in the middle of a buffer.
    X.data, X.indices, X.indptr = map(unaligned, parts)
    assert not X.indptr.flags.aligned
    for a, e in zip(loss_and_gradient(X, y, W, b), right):
        np.testing.assert_allclose(a, e, rtol=1e-13)
    X.data, X.indices, X.indptr = parts
    X.indices = np.array([3, 0, 4, 1])
    with pytest.raises(ValueError, match=r"row 0: indices\[2\] is 4, but there are 4 features"):
        loss_and_gradient(X, y, W, b)
    X.indices = np.array([3, 0, -1, 1])
    with pytest.raises(ValueError, match="the indices of X: position 2 has -1"):
        loss_and_gradient(X, y, W, b)
    X.indices, X.indptr = np.array(indices), np.array([0, 3, 2, 4])
    with pytest.raises(ValueError, match="row 1"):
        loss_and_gradient(X, y, W, b)
