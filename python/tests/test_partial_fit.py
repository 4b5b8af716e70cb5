import pickle

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris

from softmargin import HingeClassifier, SoftmaxClassifier

MODELS = [
    SoftmaxClassifier(l2=1e-2),
    HingeClassifier(l2=1e-2),
    HingeClassifier(l2=1e-2, loss="squared_hinge"),
    HingeClassifier(l2=1e-2, loss="crammer_singer"),
]


def table(load, dtype=np.float64):
    """Shuffled, so that chunks are alike."""
    X, y = load(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    X = (X - X.mean(0)) / (X.std(0) + 1e-9)
    return X[order].astype(dtype), y[order]


def stream(model, X, y, rows, epochs=1, weights=None):
    for _ in range(epochs):
        for i in range(0, len(y), rows):
            part = slice(i, i + rows)
            model.partial_fit(X[part], y[part], np.unique(y), None if weights is None else weights[part])
    return model


@pytest.mark.parametrize("model", MODELS, ids=repr)
@pytest.mark.parametrize("load,epochs", [(load_iris, 15), (load_breast_cancer, 2), (load_digits, 2)])
@pytest.mark.parametrize("rows", [30, 100])
def test_comes_near_the_optimum(model, load, epochs, rows):
    X, y = table(load)
    best = clone(model).fit(X, y)
    streamed = stream(clone(model), X, y, rows, epochs)
    assert streamed.coef_.shape == best.coef_.shape
    assert streamed.score(X, y) > best.score(X, y) - 0.05


def test_any_unit_of_the_features():
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    for unit in (1.0, 1e3, 1e6):
        model = stream(SoftmaxClassifier(l2=1e-3 * unit**2), unit * X[order], y[order], 50, 20)
        assert model.score(unit * X, y) > 0.8, unit


def test_steps_are_counted_and_become_shorter():
    X, y = table(load_iris)
    model = SoftmaxClassifier(l2=0.0).partial_fit(X[:40], y[:40], classes=[0, 1, 2])
    assert model.t_ == 2 and model.total_weight_ == 40 and model.n_iter_ == 1
    model.partial_fit(X[40:], y[40:])
    assert model.t_ == 2 + 4 and model.total_weight_ == 150

    # One step from zeros is along the slope, and 1/√t as long.
    def step(t):
        model = SoftmaxClassifier(l2=0.0).partial_fit(X[:32], y[:32], classes=[0, 1, 2])
        model.coef_, model.intercept_, model.t_ = np.zeros_like(model.coef_), np.zeros(3), t
        return model.partial_fit(X[:32], y[:32]).coef_

    np.testing.assert_allclose(step(3), step(0) / 2, atol=1e-12)
    np.testing.assert_allclose(step(99), step(0) / 10, atol=1e-12)


def test_goes_on_from_a_fit():
    X, y = table(load_digits)
    model = SoftmaxClassifier(l2=1e-3).fit(X[:1500], y[:1500])
    assert model.t_ == 47 and model.total_weight_ == 1500
    before, score = model.coef_.copy(), model.score(X[1500:], y[1500:])
    model.partial_fit(X[1500:], y[1500:])
    assert (model.coef_ != before).any() and model.score(X[1500:], y[1500:]) >= score
    # And a fit starts anew.
    again = model.fit(X[:1500], y[:1500])
    assert np.array_equal(again.coef_, before) and again.t_ == 47


def test_l2_follows_from_all_samples_so_far():
    X, y = table(load_iris)
    model = stream(SoftmaxClassifier(C=2.0), X, y, 50)
    assert model.l2_ == 1 / (2 * 2.0 * 150)
    assert SoftmaxClassifier(C=2.0).fit(X, y).l2_ == model.l2_


def test_the_same_again_and_pickled():
    X, y = table(load_digits, np.float32)
    first, second = (stream(SoftmaxClassifier(), X[:1000], y[:1000], 300) for _ in range(2))
    second = pickle.loads(pickle.dumps(second))
    for model in (first, second):
        model.partial_fit(X[1000:], y[1000:])
        assert model.coef_.dtype == np.float32
    assert np.array_equal(first.coef_, second.coef_) and first.t_ == second.t_


def test_names_sparse_rows_weights_and_types():
    X, y = table(load_iris)
    names = np.array(["setosa", "versicolor", "virginica"], dtype=object)[y]
    frame = pd.DataFrame(X, columns=list("abcd"))
    by_name = SoftmaxClassifier(l2=1e-3).partial_fit(frame, names, classes=np.unique(names)[::-1])
    by_number = SoftmaxClassifier(l2=1e-3).partial_fit(X, y, classes=[2, 1, 0])
    assert np.array_equal(by_name.coef_, by_number.coef_) and by_name.predict(frame)[0] in names
    with pytest.raises(ValueError, match="feature names"):
        by_name.partial_fit(frame[["b", "a", "c", "d"]], names)

    thin = SoftmaxClassifier(l2=1e-3).partial_fit(sparse.csr_matrix(X), y, classes=[0, 1, 2])
    np.testing.assert_allclose(thin.coef_, by_number.coef_, atol=0.2)

    # A class that does not count might as well be away.
    weights = (y != 1).astype(float)
    for options, given in [({}, weights), ({"class_weight": {1: 0.0}}, None)]:
        model = stream(SoftmaxClassifier(l2=1e-3, **options), X, y, 30, 20, given)
        assert not (model.predict(X) == 1).any()

    # A model in float64 stays one.
    assert by_number.partial_fit(X.astype(np.float32), y).coef_.dtype == np.float64
    assert by_number.partial_fit((10 * X).astype(np.int8), y).coef_.dtype == np.float64


def test_steps_that_lead_nowhere_are_taken_back():
    X, y = table(load_iris)
    model = SoftmaxClassifier(l2=1e-3, tol=1e-7, ftol=0.0).fit(X, y)
    coef = model.coef_ = 1.001 * model.coef_
    model.t_ = 0
    model.partial_fit(X, y)
    assert model.stop_reason_ == "no_progress" and np.array_equal(model.coef_, coef)
    assert model.t_ == 5


def test_errors_leave_the_model_as_it_was():
    X, y = table(load_iris)
    names = np.array(["a", "b", "c"])[y]
    model = SoftmaxClassifier(l2=1e-3)
    for arguments, message in [
        ((X, names), "classes must be passed on the first call to partial_fit"),
        ((X, names, ["a", "b"]), f"row {(y == 2).argmax()} has label 'c', which is none of the classes"),
        ((X, names, ["a"]), "at least 2 classes"),
        ((X, X[:, 0], [0, 1]), "Unknown label type: continuous"),
        ((X, names, ["a", "b", "c"], -np.ones(150)), "[Nn]egative"),
        ((X, names, ["a", "b", "c"], np.zeros(150)), "non-zero number"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(*arguments)
        assert not hasattr(model, "coef_") and not hasattr(model, "classes_")
    model.partial_fit(X, names, ["c", "b", "a"])
    before = {name: np.copy(value) for name, value in vars(model).items()}
    bad = X.copy()
    bad[7, 2] = np.nan
    for arguments, message in [
        ((X[:, :3], names), "X has 3 features, but SoftmaxClassifier is expecting 4"),
        ((X, names, ["a", "b"]), r"is not the same as on last call to partial_fit, was: \['a', 'b', 'c'\]"),
        ((X, y), "row 0 has label"),
        ((bad, names), "row 7: feature 2 is NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            model.partial_fit(*arguments)
    for name, value in vars(model).items():
        assert np.array_equal(value, before[name], equal_nan=value is np.nan or name == "gap_"), name
    with pytest.raises(ValueError, match="class_weight='balanced' is not supported for partial_fit"):
        SoftmaxClassifier(class_weight="balanced").partial_fit(X, y, [0, 1, 2])


def test_no_class_is_nan():
    model = SoftmaxClassifier()
    with pytest.raises(ValueError, match="no label is NaN"):
        model.partial_fit([[0.0], [1.0]], [0, 1], classes=[0.0, 1.0, np.nan])
    assert not hasattr(model, "classes_")
