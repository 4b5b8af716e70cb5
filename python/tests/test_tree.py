import copy
import operator
import pickle
from functools import reduce

import numpy as np
import pytest

from softmargin import Evaluator, HingeClassifier, NonFiniteError, Partial, PartialTree, SoftmaxClassifier, lbfgs

ROWS, CHUNKS = 40, 17
WORKERS = [1, 2, 3, 4, 7]


def problem(dtype=np.float64, d=5, c=4):
    random, n = np.random.default_rng(17), CHUNKS * ROWS - 13
    X, y = random.normal(size=(n, d)).astype(dtype), random.integers(0, c, n)
    return X, y, np.zeros((c, d), dtype), np.zeros(c, dtype)


def leaf(evaluator, X, y, W, b, i):
    rows, partial = slice(i * ROWS, (i + 1) * ROWS), Partial(*W.shape)
    evaluator.accumulate(X[rows], y[rows], W, b, partial)
    return partial


def worker(evaluator, X, y, W, b, chunks):
    """What a worker that has these chunks sends."""
    tree = PartialTree()
    for i in chunks:
        tree.push(i, leaf(evaluator, X, y, W, b, i))
    return pickle.loads(pickle.dumps(tree))


def spread(workers):
    """The chunks of each worker: neighbours, and dealt out in turn."""
    yield [range(w * CHUNKS // workers, (w + 1) * CHUNKS // workers) for w in range(workers)]
    yield [range(w, CHUNKS, workers) for w in range(workers)]


def test_the_same_bits_however_chunks_are_spread():
    X, y, W, b = problem()
    W = W + np.linspace(-1, 1, W.size).reshape(W.shape)
    evaluator = Evaluator(loss="squared_hinge")
    level = [leaf(evaluator, X, y, W, b, i) for i in range(CHUNKS)]
    in_turn = sum(level, Partial(*W.shape))
    while len(level) > 1:
        pairs = [level[i : i + 2] for i in range(0, len(level), 2)]
        level = [reduce(operator.add, pair) for pair in pairs]
    for workers in WORKERS:
        for chunks in spread(workers):
            trees = [worker(evaluator, X, y, W, b, own) for own in chunks]
            for order in (trees, trees[::-1]):
                total = reduce(operator.add, order).total(CHUNKS)
                assert total.sums.tobytes() == level[0].sums.tobytes(), workers
    # Otherwise any order would do.
    assert in_turn.sums.tobytes() != level[0].sums.tobytes()


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_hinge"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_same_model_however_chunks_are_spread(loss, dtype):
    X, y, W, b = problem(dtype)
    objective = {"loss": loss, "label_smoothing": 0.1 if loss == "cross_entropy" else 0.0}
    evaluator = Evaluator(**objective)
    fits = []
    for workers in WORKERS:
        for chunks in spread(workers):

            def fun(W, b):
                assert W.dtype == b.dtype == dtype
                return reduce(operator.add, (worker(evaluator, X, y, W, b, own) for own in chunks)).total(CHUNKS)

            fits.append(lbfgs(fun, W, b, l2=1e-3, sample=(X, y), **objective))
    for fit in fits:
        assert fit.converged and fit.weights.dtype == dtype
        assert fit.weights.tobytes() == fits[0].weights.tobytes() and fit.bias.tobytes() == fits[0].bias.tobytes()
        assert (fit.evaluations, fit.objective) == (fits[0].evaluations, fits[0].objective)
    _, dW, db = Evaluator(**objective, l2=1e-3).loss_and_gradient(X, y, fits[0].weights, fits[0].bias)
    assert max(np.abs(dW).max(), np.abs(db).max()) <= 1.1e-5


def test_lbfgs_is_that_of_the_estimator():
    X, y, W, b = problem()
    y[X[:, 0] > 0] = 1
    evaluator, told = Evaluator(), []

    def fun(W, b):
        partial = Partial(*W.shape)
        evaluator.accumulate(X, y, W, b, partial, sample_weight=y + 1.0)
        return partial

    options = {"l2": 1e-3, "tol": 1e-7, "ftol": 0.0}
    fit = lbfgs(fun, W, b, sample=(X, y, y + 1.0), callback=lambda *step: told.append(step), **options)
    model = SoftmaxClassifier(**options).fit(X, y, sample_weight=y + 1.0)
    np.testing.assert_allclose(fit.weights, model.coef_, rtol=1e-4, atol=1e-6)
    assert [step[0] for step in told] == list(range(fit.iterations + 1))
    assert told[-1][1:] == (fit.objective, fit.gradient_norm)
    assert not W.any()
    # Without a sample it gets there, too, after more evaluations.
    plain = lbfgs(fun, W, b, **options)
    np.testing.assert_allclose(plain.weights, fit.weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared_hinge"])
def test_gap(loss):
    X, y, W, b = problem()
    y[X[:, 0] > 0] = 1
    evaluators = {}

    def fun(W, b, direction, **objective):
        key = (objective["loss"], objective["margin"])
        evaluator = evaluators.setdefault(key, Evaluator(**objective))
        partial = Partial(*W.shape)
        for rows in (slice(0, 20), slice(20, None)):
            evaluator.accumulate(X[rows], y[rows], W, b, partial, direction=direction)
        return partial

    for max_iter, most in ((2, 10.0), (1000, 1e-7)):
        fit = lbfgs(fun, W, b, loss=loss, l2=1e-2, tol=1e-8, ftol=0.0, max_iter=max_iter, gap=True)
        assert 0 <= fit.gap < most
    assert ("hinge", 0.0) in evaluators and (loss, 1.0) in evaluators
    model = SoftmaxClassifier() if loss == "cross_entropy" else HingeClassifier(loss=loss)
    model.set_params(l2=1e-2, tol=1e-6).fit(X, y)
    early = lbfgs(fun, W, b, loss=loss, l2=1e-2, max_iter=2, gap=True)
    assert early.gap >= early.objective - model.objective_ > 0
    # A fun that takes no keywords is not told of any.
    without = lbfgs(lambda W, b: fun(W, b, None, loss=loss, margin=1.0), W, b, loss=loss, l2=1e-2)
    assert without.converged and np.isnan(without.gap)


def test_what_fun_raises_for_the_gap():
    X, y, W, b = problem()
    evaluator = Evaluator()

    def fun(W, b, direction, loss, margin, label_smoothing):
        if loss == "hinge":
            raise error
        partial = Partial(*W.shape)
        evaluator.accumulate(X, y, W, b, partial, direction=direction)
        return partial

    error = ZeroDivisionError("here")
    with pytest.raises(ZeroDivisionError, match="here"):
        lbfgs(fun, W, b, l2=1e-2, gap=True)
    error = NonFiniteError("row 7")
    fit = lbfgs(fun, W, b, l2=1e-2, gap=True)
    assert fit.converged and np.isnan(fit.gap)


def test_what_fun_raises():
    X, y, W, b = problem()
    evaluator, calls = Evaluator(), []

    def fun(W, b, fail_at=None, error=None):
        calls.append(W)
        if len(calls) == fail_at:
            raise error
        partial = Partial(*W.shape)
        evaluator.accumulate(X, y, W, b, partial)
        return partial

    def fit(**options):
        calls.clear()
        return lbfgs(lambda W, b: fun(W, b, **options), W, b, l2=1e-3, tol=1e-8, ftol=0.0)

    whole = fit()
    assert whole.converged and len(calls) > 3
    for fail_at in (1, 3):
        with pytest.raises(ZeroDivisionError, match="here"):
            fit(fail_at=fail_at, error=ZeroDivisionError("here"))
        assert len(calls) == fail_at
    # Not finite: at the start an error, and later a step that was too long.
    with pytest.raises(NonFiniteError, match="row 7"):
        fit(fail_at=1, error=NonFiniteError("row 7"))
    mended = fit(fail_at=3, error=NonFiniteError("row 7"))
    assert mended.converged
    np.testing.assert_allclose(mended.weights, whole.weights, atol=1e-6)
    # It ends there, with the best model so far.
    stopped = fit(fail_at=4, error=StopIteration())
    assert stopped.stop_reason == "interrupted" and not stopped.converged
    assert whole.objective < stopped.objective < np.log(4)
    assert stopped.objective == evaluator_objective(X, y, stopped)
    with pytest.raises(StopIteration):
        fit(fail_at=1, error=StopIteration())


def evaluator_objective(X, y, fit):
    return Evaluator(l2=1e-3).loss(X, y, fit.weights, fit.bias)


def test_callbacks_that_raise():
    X, y, W, b = problem()
    evaluator = Evaluator()

    def fun(W, b):
        partial = Partial(*W.shape)
        evaluator.accumulate(X, y, W, b, partial)
        return partial

    def at_second(error):
        def callback(iteration, objective, gradient_norm):
            if iteration == 2:
                raise error

        return callback

    stopped = lbfgs(fun, W, b, l2=1e-3, callback=at_second(StopIteration()))
    assert (stopped.stop_reason, stopped.iterations) == ("interrupted", 2)
    with pytest.raises(ZeroDivisionError):
        lbfgs(fun, W, b, l2=1e-3, callback=at_second(ZeroDivisionError()))


def test_wrong_calls_of_lbfgs():
    X, y, W, b = problem()
    with pytest.raises(TypeError, match="return a Partial, not .*int"):
        lbfgs(lambda W, b: 1, W, b)
    with pytest.raises(ValueError, match="partial has 4 classes × 6 features, the model 4 × 5"):
        lbfgs(lambda W, b: Partial(4, 6), W, b)
    with pytest.raises(ValueError, match="no samples"):
        lbfgs(lambda W, b: Partial(4, 5), W, b)
    with pytest.raises(ValueError, match=r"\(X, y\) or \(X, y, sample_weight\), not 1 items"):
        lbfgs(lambda W, b: Partial(4, 5), W, b, sample=(X,))
    for columns in (2, 10):
        with pytest.raises(ValueError, match=f"the model has 5 features, the data {columns}"):
            lbfgs(lambda W, b: Partial(4, 5), W, b, sample=(np.ones((len(y), columns)), y))
    with pytest.raises(ValueError, match="W has 4 rows"):
        lbfgs(lambda W, b: Partial(4, 5), W, b[:3])
    with pytest.raises(ValueError, match="tolerance"):
        lbfgs(lambda W, b: Partial(4, 5), W, b, tol=-1.0)


def test_nodes():
    partials = [Partial(1, 1, [i, 2.0, 3.0, 4.0]) for i in range(7)]
    tree = PartialTree((i, partial) for i, partial in enumerate(partials))
    assert [chunks for chunks, _ in tree.nodes()] == [range(0, 4), range(4, 6), range(6, 7)]
    assert [partial.sums[0] for _, partial in tree.nodes()] == [6.0, 9.0, 6.0]
    for other in (PartialTree(tree.nodes()), copy.copy(tree), copy.deepcopy(tree), pickle.loads(pickle.dumps(tree))):
        assert np.array_equal(other.total(7).sums, tree.total(7).sums)
    assert tree.__sizeof__() == 3 * 4 * 8
    # The nodes are copies.
    tree.nodes()[0][1].sums[:] = 0
    assert tree.nodes()[0][1].sums[0] == 6.0
    before = tree
    tree += PartialTree([(7, partials[0])])
    assert tree is before and repr(tree) == "PartialTree([range(0, 8)])"
    assert repr(PartialTree()) == "PartialTree([])"


def test_wrong_calls_of_a_tree():
    one, tree = Partial(1, 1, [1.0, 2.0, 3.0, 4.0]), PartialTree()
    tree.push(np.int64(2), one)
    tree.push(range(4, 8), one)
    with pytest.raises(ValueError, match="chunks 5..6 are there already"):
        tree.push(5, one)
    with pytest.raises(ValueError, match="no node"):
        tree.push(range(1, 3), one)
    for chunks in (-1, 2**64 - 1, range(0, 4, 2), range(-2, 0)):
        with pytest.raises(ValueError, match="no chunks"):
            tree.push(chunks, one)
    with pytest.raises(TypeError, match="whole number or a range, not .*float"):
        tree.push(1.5, one)
    with pytest.raises(ValueError, match="2 features"):
        tree.push(0, Partial(1, 2))
    with pytest.raises(ValueError, match="chunks 0..2 are missing"):
        tree.total(8)
    with pytest.raises(ValueError, match="there already"):
        tree += PartialTree([(0, one), (2, one)])
    with pytest.raises(ValueError, match="there already"):
        tree + tree
    with pytest.raises(ValueError, match="no samples"):
        PartialTree().total(0)
    # Nothing of all that is in it.
    assert repr(tree) == "PartialTree([range(2, 3), range(4, 8)])"
