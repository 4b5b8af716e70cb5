"""On a cluster of processes of its own: what holds on one machine holds on many."""

import os
import pickle
import re
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

import softmargin

try:
    import dask
    import dask.array as da
    import dask.dataframe as dd
    from distributed import Client, LocalCluster
except ImportError as error:
    pytest.skip(f"needs dask and distributed: {error}", allow_module_level=True)

import softmargin.dask
from softmargin.dask import HingeClassifier, SoftmaxClassifier

NAMES = np.array(["ant", "bee", "cat", "dog"])
ROWS = (300, 200, 0, 250, 40, 210)
OPTIONS = {"l2": 1e-3, "tol": 1e-6, "ftol": 0.0}


@pytest.fixture(scope="module")
def client():
    # One thread a worker, and one for its kernels.
    environment = dask.config.get("distributed.nanny.pre-spawn-environ") | {"RAYON_NUM_THREADS": "1"}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}):
        with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
            with Client(cluster) as client:
                yield client


def problem(n=1000, d=6, c=4, dtype=np.float64):
    random = np.random.default_rng(5)
    X = random.normal(size=(n, d)).astype(dtype)
    codes = np.argmax(X @ random.normal(size=(d, c)) + random.gumbel(size=(n, c)), axis=1)
    return X, NAMES[codes], random.uniform(0.5, 2.0, n)


def blocks(array, rows=ROWS):
    return da.from_array(array, chunks=(rows, *((n,) for n in array.shape[1:])))


def assert_same_bits(a, b):
    for name in ("coef_", "intercept_"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes()
    assert (a.objective_, a.n_iter_, a.classes_.tolist()) == (b.objective_, b.n_iter_, b.classes_.tolist())
    assert a.gap_ == b.gap_


@pytest.fixture(scope="module")
def fitted(client):
    """A fit on three workers that nothing disturbs."""
    X, y, weights = map(blocks, problem())
    return SoftmaxClassifier(**OPTIONS).fit(X, y, weights)


def test_that_of_one_machine(fitted):
    X, y, weights = problem()
    alone = softmargin.SoftmaxClassifier(**OPTIONS).fit(X, y, weights)
    assert fitted.classes_.tolist() == NAMES.tolist()
    np.testing.assert_allclose(fitted.coef_, alone.coef_, rtol=1e-3, atol=1e-4)
    assert fitted.objective_ == pytest.approx(alone.objective_, rel=1e-9)
    assert 0 <= fitted.gap_ < 1e-6 and 0 <= alone.gap_ < 1e-6
    # Where they are not small, they are of one size.
    early = SoftmaxClassifier(l2=1e-3, max_iter=2)
    with pytest.warns(ConvergenceWarning):
        early.fit(*map(blocks, (X, y, weights)))
    assert early.gap_ >= early.objective_ - alone.objective_ > 0
    machine = HingeClassifier(**OPTIONS).fit(*map(blocks, (X, y, weights)))
    assert 0 <= machine.gap_ < 1e-5
    assert fitted.total_weight_ == pytest.approx(weights.sum()) and fitted.stop_reason_ == "gradient_tolerance"


def test_predictions(client, fitted):
    X, y, weights = problem()
    alone = softmargin.SoftmaxClassifier(**OPTIONS).fit(X, y, weights)
    alone.coef_, alone.intercept_ = fitted.coef_, fitted.intercept_
    lazy = blocks(X)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        ours, expected = getattr(fitted, method)(lazy), getattr(alone, method)(X)
        assert isinstance(ours, da.Array) and ours.shape == expected.shape and ours.dtype == expected.dtype
        assert np.array_equal(ours.compute(), expected)
        # What is in memory is predicted there.
        assert np.array_equal(getattr(fitted, method)(X), expected)
    assert fitted.score(lazy, blocks(y)) == pytest.approx(alone.score(X, y), rel=1e-12)
    assert alone.score(X, y) > 0.5
    assert fitted.score(lazy, blocks(y), blocks(weights)) == pytest.approx(alone.score(X, y, weights), rel=1e-12)
    assert fitted.score(X, y) == alone.score(X, y)
    other = pickle.loads(pickle.dumps(fitted))
    assert np.array_equal(other.predict(lazy[:300]).compute(), alone.predict(X[:300]))
    assert clone(fitted).get_params() == fitted.get_params()


def at_the_third(function):
    """The evaluation of a fit, which does something else first at the third call."""
    calls, evaluate = [], softmargin.dask._Blocks.sums

    def sums(self, *arguments):
        calls.append(0)
        if len(calls) == 3:
            function(self)
        return evaluate(self, *arguments)

    return sums


def test_a_worker_dies(client, fitted, monkeypatch):
    def kill(fit):
        # One that has blocks.
        [[address, *_]] = client.who_has([fit.x[0]]).values()
        died.append(address)
        os.kill(client.run(os.getpid, workers=[address])[address], signal.SIGKILL)

    died = []
    monkeypatch.setattr(softmargin.dask._Blocks, "sums", at_the_third(kill))
    X, y, weights = map(blocks, problem())
    model = SoftmaxClassifier(**OPTIONS).fit(X, y, weights)
    assert len(died) == 1
    client.wait_for_workers(3)
    assert died[0] not in client.scheduler_info()["workers"]
    assert_same_bits(model, fitted)


def test_one_worker_gives_the_same_bits(client, fitted, monkeypatch):
    # Joined in more levels, too.
    monkeypatch.setattr(softmargin.dask, "_JOINED", 2)
    X, y, weights = map(blocks, problem())
    with Client(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as alone:
        assert len(alone.scheduler_info()["workers"]) == 1
        model = SoftmaxClassifier(**OPTIONS).fit(X, y, weights)
    client.as_current()
    assert_same_bits(model, fitted)


def test_ctrl_c(client, monkeypatch):
    X, y, _ = map(blocks, problem())

    def interrupt(fit):
        raise KeyboardInterrupt

    monkeypatch.setattr(softmargin.dask._Blocks, "sums", at_the_third(interrupt))
    model = SoftmaxClassifier(**OPTIONS)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.stop_reason_ == "interrupted"
    assert model.score(X, y) > 0.3


@pytest.mark.parametrize("kind", ["float32", "uint8", "csr", "int64"])
def test_blocks_of_any_kind(client, kind):
    X, y, _ = problem()
    X = np.round(np.maximum(X, 0))
    if kind == "csr":
        lazy = blocks(X).map_blocks(sparse.csr_matrix, meta=sparse.csr_matrix((0, 0)))
    else:
        X = X.astype(kind)
        lazy = blocks(X)
    model = SoftmaxClassifier(l2=1e-2).fit(lazy, blocks(y))
    alone = softmargin.SoftmaxClassifier(l2=1e-2).fit(X, y)
    assert model.coef_.dtype == alone.coef_.dtype == (np.float32 if kind in ("float32", "uint8") else np.float64)
    np.testing.assert_allclose(model.coef_, alone.coef_, atol=1e-3)
    assert np.mean(model.predict(lazy).compute() == alone.predict(X)) > 0.99


def test_data_frames(client):
    X, y, weights = problem()
    frame = pd.DataFrame(X, columns=list("abcdef")).assign(label=y, weight=weights)
    table = dd.from_pandas(frame, npartitions=5)
    model = HingeClassifier(l2=1e-3, tol=1e-5, ftol=0.0, class_weight="balanced")
    model.fit(table[list("abcdef")], table["label"], table["weight"])
    alone = softmargin.HingeClassifier(**model.get_params()).fit(frame[list("abcdef")], y, weights)
    np.testing.assert_allclose(model.coef_, alone.coef_, rtol=1e-3, atol=1e-4)
    assert model.feature_names_in_.tolist() == list("abcdef")
    predicted = model.predict(table[list("abcdef")]).compute()
    assert np.mean(predicted == alone.predict(frame[list("abcdef")])) > 0.99
    assert model.score(table[list("abcdef")], table["label"]) == pytest.approx(np.mean(predicted == y))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(table[list("bacdef")])
    with pytest.raises(ValueError, match="6 features|expecting 6"):
        model.predict(blocks(X[:, :5]))


def test_two_classes_and_weights_of_classes(client):
    X, y, _ = problem()
    y = np.where(y == "ant", 7, -3)
    model = SoftmaxClassifier(0.5, class_weight={7: 2.0, -3: 0.5}, tol=1e-6, ftol=0.0)
    # Nothing of the second block counts.
    weights = np.ones(1000)
    weights[300:500] = 0.0
    model.fit(blocks(X), blocks(y), blocks(weights))
    alone = softmargin.SoftmaxClassifier(**model.get_params()).fit(X, y, weights)
    assert model.coef_.shape == (1, 6) and model.classes_.tolist() == [-3, 7]
    assert model.l2_ == pytest.approx(alone.l2_)
    np.testing.assert_allclose(model.coef_, alone.coef_, rtol=1e-3, atol=1e-4)
    scores = model.decision_function(blocks(X))
    assert scores.shape == (1000,)
    np.testing.assert_allclose(scores.compute(), alone.decision_function(X), rtol=1e-3, atol=1e-3)
    # It goes on from there.
    model.set_params(warm_start=True, max_iter=1).fit(blocks(X), blocks(y), blocks(weights))
    np.testing.assert_allclose(model.coef_, alone.coef_, rtol=1e-3, atol=1e-4)


def test_a_fit_that_ends_too_early_warns(client):
    X, y, _ = map(blocks, problem())
    with pytest.warns(ConvergenceWarning, match="max_iter"):
        SoftmaxClassifier(**OPTIONS | {"max_iter": 1}).fit(X, y)


def test_sizes_that_are_not_known(client, fitted):
    X, y, weights = map(blocks, problem())
    unknown = [da.map_blocks(np.asarray, array, dtype=array.dtype) for array in (X, y, weights)]
    for array in unknown:
        array._chunks = (tuple(np.nan for _ in ROWS), *array.chunks[1:])
    assert_same_bits(SoftmaxClassifier(**OPTIONS).fit(*unknown), fitted)
    wrong = y.rechunk(((310, 190, *ROWS[2:]),))
    wrong._chunks = unknown[1].chunks
    with pytest.raises(ValueError, match="block 0: X has 300 rows, but y has 310"):
        SoftmaxClassifier().fit(unknown[0], wrong)


def test_a_class_that_counts_nothing(client):
    X, y, weights = problem()
    weights = np.where(y == y[0], 0.0, weights)
    model = SoftmaxClassifier(l2=1e-2, class_weight="balanced", tol=1e-7)
    of_memory = softmargin.SoftmaxClassifier(l2=1e-2, class_weight="balanced", tol=1e-7).fit(X, y, weights)
    model.fit(blocks(X), blocks(y), blocks(weights))
    np.testing.assert_allclose(model.coef_, of_memory.coef_, atol=1e-4)


def test_errors(client):
    X, y, weights = problem()
    lazy, labels, model = blocks(X), blocks(y), SoftmaxClassifier(l2=1e-3)

    def refused(match, X=lazy, y=labels, weights=None, kind=ValueError):
        with pytest.raises(kind, match=match):
            model.fit(X, y, weights)

    refused(r"3 chunks along its features.*rechunk\(", X=lazy.rechunk({1: 2}))
    refused(r"6 blocks of rows, but y has 2: y.rechunk\(X.chunks\[0\]\)", y=da.from_array(y, chunks=500))
    shifted = (290, 210, *ROWS[2:])
    refused("block 0 of X has 300 rows, but that of sample_weight has 290", weights=blocks(weights, shifted))
    refused("X has 1 dimensions", X=labels)
    refused("y has 2 dimensions", y=labels[:, None])
    refused("y is of type ndarray.*from_array", y=y, kind=TypeError)
    # Of two the first one is told, by name of its block.
    bad = X.copy()
    bad[525, 2], bad[760, 1] = np.nan, np.inf
    refused("block 3, which begins at row 500: row 25: feature 2 is NaN", X=blocks(bad))
    refused("block 1: row 50 has the weight -1.0", weights=blocks(np.where(np.arange(1000) == 350, -1.0, 1.0)))
    masked = [np.ma.MaskedArray(array, np.arange(1000) == 350) for array in (y, weights)]
    refused("block 1: y has masked values", y=blocks(masked[0]))
    refused("block 1: sample_weight has masked values", weights=blocks(masked[1]))
    rows = np.arange(1000)[:, None] == [350] * X.shape[1]
    refused("block 1: X has masked values", X=blocks(np.ma.MaskedArray(X, rows)))
    refused("weights of all 1000 samples sum to 0", weights=blocks(np.zeros(1000)))
    for weight in (-1.0, np.nan):
        with pytest.raises(ValueError, match=f"class_weight: that of 1 is {weight}"):
            SoftmaxClassifier(class_weight={1: weight}).fit(lazy, blocks(np.arange(1000) % 2))
    refused("at least 2 classes, but y has 1: .*ant", y=blocks(np.full(1000, "ant")))
    refused("continuous", y=blocks(weights))
    mixed = np.array(y, dtype=object)
    mixed[501] = 3
    refused("block 3: y has labels of the types int, str", y=blocks(mixed))
    assert not hasattr(model, "coef_")
    for loss in ("hinge", "crammer_singer"):
        with pytest.raises(ValueError, match=f"{loss}.*kinks.*squared_hinge"):
            HingeClassifier(loss=loss).fit(lazy, labels)
    assert not hasattr(model, "partial_fit")
    # Of predictions, Dask tells the error that comes first.
    bad[760, 1] = 0.0
    with pytest.raises(ValueError, match="block 3: row 25: feature 2 is NaN"):
        SoftmaxClassifier(l2=1e-3).fit(lazy, labels).predict(blocks(bad)).compute()


def test_the_page(client):
    """The examples of the documentation, on this cluster."""
    page = (Path(__file__).parents[2] / "docs" / "DASK.md").read_text(encoding="utf-8")
    examples = re.findall("```python\n(.*?)```", page, re.DOTALL)
    assert examples
    names = {"client": client}
    for example in examples:
        exec(compile(re.sub("(?m)^client = .*$", "", example), "DASK.md", "exec"), names)
