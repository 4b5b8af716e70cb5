import copy
import pickle

import numpy as np
import pytest
from scipy import sparse

from softmargin import Evaluator, Partial, loss_and_gradient

LOSSES = ["cross_entropy", "hinge", "squared_hinge", "crammer_singer"]
CHUNKS = [slice(0, 40), slice(40, 41), slice(41, 300)]


def problem(dtype=np.float64, n=300, d=11, c=5):
    random = np.random.default_rng(7)
    X = random.normal(size=(n, d)).astype(dtype)
    W, b = random.normal(size=(c, d)).astype(dtype), random.normal(size=c).astype(dtype)
    return X, random.integers(0, c, n), W, b


def of_chunk(evaluator, X, y, W, b, part, weights=None):
    partial = Partial(*W.shape)
    evaluator.accumulate(X[part], y[part], W, b, partial, sample_weight=None if weights is None else weights[part])
    return partial


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype,tolerance", [(np.float32, 1e-6), (np.float64, 1e-13)])
@pytest.mark.parametrize("weighted", [False, True])
def test_chunks_are_the_whole(loss, dtype, tolerance, weighted):
    X, y, W, b = problem(dtype)
    weights = np.linspace(0.5, 2.0, len(y)).astype(dtype) if weighted else None
    evaluator = Evaluator(loss=loss, l2=0.01)
    whole = evaluator.loss_and_gradient(X, y, W, b, sample_weight=weights)

    one = Partial(*W.shape)
    for part in CHUNKS:
        evaluator.accumulate(X[part], y[part], W, b, one, sample_weight=None if weights is None else weights[part])
    partials = [of_chunk(evaluator, X, y, W, b, part, weights) for part in CHUNKS]
    sent = [pickle.loads(pickle.dumps(partial)) for partial in partials]
    added = Partial(*W.shape)
    for partial in sent:
        added += partial
    # In the same order, the same bits, however they are added.
    for total in (added, sum(partials, Partial(*W.shape)), partials[0] + partials[1] + partials[2]):
        assert np.array_equal(total.sums, one.sums)
        assert total.total_weight == one.total_weight
    loss, dW, db = evaluator.finish(W, b, one)
    assert isinstance(loss, float) and dW.dtype == db.dtype == dtype
    for a, e in zip((loss, dW, db), whole):
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance)
    # One chunk is the whole, bit for bit.
    all_of_it = of_chunk(evaluator, X, y, W, b, slice(None), weights)
    for a, e in zip(evaluator.finish(W, b, all_of_it), whole):
        assert np.array_equal(a, e)


def test_sums_are_the_memory_of_the_partial():
    X, y, W, b = problem()
    evaluator, partial = Evaluator(), Partial(*W.shape)
    sums = partial.sums
    assert sums.dtype == np.float64 and sums.shape == (5 * 11 + 5 + 2,) and not sums.any()
    assert np.shares_memory(sums, partial.sums)
    evaluator.accumulate(X, y, W, b, partial)
    loss, dW, db = loss_and_gradient(X, y, W, b)
    np.testing.assert_allclose(sums[:55].reshape(5, 11) / 300, dW, rtol=1e-12)
    np.testing.assert_allclose(sums[55:60] / 300, db, rtol=1e-12)
    assert sums[60] / 300 == pytest.approx(loss) and sums[61] == partial.total_weight == 300
    # As an all-reduce of two such processes would.
    sums *= 2
    assert partial.total_weight == 600
    for a, e in zip(evaluator.finish(W, b, partial), (loss, dW, db)):
        np.testing.assert_allclose(a, e, rtol=1e-15)
    # Another shape of the array is none of the partial.
    sums.shape = (2, 31)
    assert partial.sums.shape == (62,)
    # It outlives the partial.
    kept = Partial(2, 3, np.arange(10.0)).sums
    assert np.array_equal(kept, np.arange(10.0))


def test_copies_and_additions_are_new():
    sums = np.arange(10.0)
    partial = Partial(2, 3, sums)
    for other in (copy.copy(partial), copy.deepcopy(partial), pickle.loads(pickle.dumps(partial))):
        assert (other.n_classes, other.n_features) == (2, 3) and np.array_equal(other.sums, sums)
        assert not np.shares_memory(other.sums, partial.sums)
    assert not np.shares_memory(sums, partial.sums)
    assert np.array_equal((partial + partial).sums, 2 * sums) and np.array_equal(partial.sums, sums)
    before = partial
    partial += partial
    assert partial is before and np.array_equal(partial.sums, 2 * sums)
    assert repr(partial) == "Partial(n_classes=2, n_features=3, total_weight=18.0)"


def test_chunks_of_any_kind():
    X, y, W, b = problem()
    X[np.abs(X) < 1] = 0
    X = np.round(8 * X)
    evaluator, partial = Evaluator(loss="squared_hinge", l2=0.01), Partial(*W.shape)
    evaluator.accumulate(X[:100].astype(np.int8), y[:100], W, b, partial)
    evaluator.accumulate(sparse.csr_array(X[100:200]), y[100:200], W, b, partial)
    evaluator.accumulate(X[200:].tolist(), y[200:].tolist(), W, b, partial)
    for a, e in zip(evaluator.finish(W, b, partial), evaluator.loss_and_gradient(X, y, W, b)):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def test_errors():
    X, y, W, b = problem()
    evaluator, partial = Evaluator(), Partial(5, 11)
    with pytest.raises(ValueError, match="no samples"):
        evaluator.finish(W, b, partial)
    with pytest.raises(ValueError, match="5 classes.*11 features.*62.*61"):
        Partial(5, 11, np.zeros(61))
    with pytest.raises(ValueError, match="sums has 2 dimensions"):
        Partial(5, 11, np.zeros((2, 31)))
    with pytest.raises(ValueError, match="more than memory has addresses"):
        Partial(2**40, 2**40)
    # Of Hessian products there is no loss, however they were added up.
    products = Partial(5, 11)
    evaluator.accumulate(X, y, W, b, products, direction=(W, b))
    for sums in (products, pickle.loads(pickle.dumps(products)), products + of_chunk(evaluator, X, y, W, b, CHUNKS[0])):
        with pytest.raises(ValueError, match="Hessian products"):
            evaluator.finish(W, b, sums)
    evaluator.accumulate(X, y, W, b, partial)
    before = partial.sums.copy()
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(ValueError, match="row 3: feature 2 is NaN"):
        evaluator.accumulate(bad, y, W, b, partial)
    with pytest.raises(ValueError, match="11"):
        evaluator.accumulate(X[:, :10], y, W[:, :10], b, partial)
    with pytest.raises(ValueError, match="4"):
        evaluator.finish(W[:4], b[:4], partial)
    with pytest.raises(ValueError, match="for 5 classes × 10 features, this one for 5 × 11"):
        partial += Partial(5, 10)
    with pytest.raises(ValueError, match="for 5 classes × 10 features, this one for 5 × 11"):
        partial + Partial(5, 10)
    with pytest.raises(TypeError):
        partial += 1
    with pytest.raises(TypeError):
        partial + before
    assert np.array_equal(partial.sums, before)
