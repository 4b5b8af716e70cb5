import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import softmargin
from softmargin import HingeClassifier, HingeClassifierCV, SoftmaxClassifier, SoftmaxClassifierCV


def table(load, dtype=np.float64):
    X, y = load(return_X_y=True)
    return ((X - X.mean(0)) / np.maximum(X.std(0), 1e-9)).astype(dtype), y


# As those of the other estimators' tests.
PRECISE = {"tol": 1e-11, "ftol": 0.0}


@parametrize_with_checks(
    [
        SoftmaxClassifierCV(Cs=[0.1, 1.0], cv=3, **PRECISE),
        HingeClassifierCV(loss="squared_hinge", Cs=[0.1, 1.0], cv=3, **PRECISE),
        HingeClassifierCV(Cs=[0.1, 1.0], cv=3, tol=1e-9),
    ]
)
def test_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("load", [load_digits, load_breast_cancer])
def test_the_choice_of_scikit_learn(load):
    X, y = table(load)
    n, k = len(y), 5
    folds = list(StratifiedKFold(k, shuffle=True, random_state=0).split(X, y))
    l2s = np.logspace(-5, 0, 6)
    # scikit-learn's λ depends on the number of samples, of which a fold has fewer.
    rows, trained = (1 if load is load_breast_cancer else 2), n * (k - 1) / k
    theirs = LogisticRegressionCV(
        Cs=1 / (rows * trained * l2s), cv=folds, scoring="neg_log_loss", tol=1e-6, max_iter=10_000, **QUIET
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        theirs.fit(X, y)
    ours = SoftmaxClassifierCV(l2s=l2s, cv=folds).fit(X, y)
    their_scores = theirs.scores_ if isinstance(theirs.scores_, np.ndarray) else next(iter(theirs.scores_.values()))
    their_losses = -np.asarray(their_scores).reshape(k, len(l2s))[:, ::-1]
    # Their Cs ascend with ours; the folds differ by a sample, and so does the λ of each a little.
    np.testing.assert_allclose(ours.losses_, their_losses, rtol=0.02, atol=2e-3)
    their_l2 = 1 / (rows * trained * np.ravel(theirs.C_)[0])
    assert ours.l2_ == pytest.approx(their_l2)
    assert not ours.l2s_[0] == ours.l2_ != ours.l2s_[-1]


# What the versions of scikit-learn ask for, to be quiet about what is going to change.
QUIET = {"use_legacy_attributes": False} if "use_legacy_attributes" in LogisticRegressionCV().get_params() else {}


def test_what_is_told_is_what_the_fits_are():
    X, y = table(load_iris)
    weights = np.linspace(0.5, 1.5, len(y))
    folds = list(StratifiedKFold(4, shuffle=True, random_state=1).split(X, y))
    model = SoftmaxClassifierCV(l2s=[1e-3, 0.1], cv=folds).fit(X, y, weights)
    assert model.l2s_.tolist() == [0.1, 1e-3] and model.losses_.shape == model.scores_.shape == (4, 2)
    held_out = np.array([weights[validation].sum() for _, validation in folds])
    for i, l2 in enumerate(model.l2s_):
        for fold, (training, validation) in enumerate(folds):
            alone = SoftmaxClassifier(l2=l2).fit(X[training], y[training], weights[training])
            log_proba = alone.predict_log_proba(X[validation])[np.arange(len(validation)), y[validation]]
            loss = -np.average(log_proba, weights=weights[validation])
            assert model.losses_[fold, i] == pytest.approx(loss, rel=1e-2)
            score = alone.score(X[validation], y[validation], weights[validation])
            assert model.scores_[fold, i] == pytest.approx(score, abs=0.03)
        losses = model.losses_[:, i]
        mean = np.average(losses, weights=held_out)
        assert model.mean_losses_[i] == pytest.approx(mean)
        error = np.sqrt(np.average((losses - mean) ** 2, weights=held_out) / 3)
        assert model.standard_errors_[i] == pytest.approx(error)
    assert model.l2_ == model.l2s_[model.mean_losses_.argmin()] <= model.l2_one_standard_error_
    assert model.C_ == pytest.approx(1 / (2 * weights.sum() * model.l2_))
    # All samples are fitted in the end.
    alone = SoftmaxClassifier(l2=model.l2_).fit(X, y, weights)
    assert np.array_equal(model.coef_, alone.coef_) and model.objective_ == alone.objective_


@pytest.mark.parametrize("loss", ["hinge", "squared_hinge", "crammer_singer"])
def test_the_losses_with_kinks(loss):
    X, y = table(load_iris, np.float32)
    model = HingeClassifierCV(loss=loss, l2s=[100.0, 1e-2], cv=3).fit(X, y)
    alone = HingeClassifier(loss=loss, l2=1e-2).fit(X, y)
    assert model.l2_ == 1e-2 and np.array_equal(model.coef_, alone.coef_)
    assert model.score(X, y) > 0.93


def test_cs_are_those_of_scikit_learn():
    X, y = table(load_iris)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = SoftmaxClassifierCV(Cs=3, cv=3).fit(X, y)
    np.testing.assert_allclose(model.Cs_, [1e-4, 1.0, 1e4])
    np.testing.assert_allclose(model.l2s_, 1 / (2 * 150 * model.Cs_))
    assert model.C_ in model.Cs_


def test_labels_types_and_tables():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    frame = pd.DataFrame(X).add_prefix("f")
    options = {"l2s": [1e-2, 1e-3], "cv": 3, "class_weight": "balanced"}
    model = SoftmaxClassifierCV(**options).fit(frame, names)
    assert list(model.feature_names_in_) == list(frame.columns) and model.score(frame, names) > 0.9
    thin = clone(model).fit(sparse.csr_matrix(X), names)
    np.testing.assert_allclose(thin.losses_, model.losses_, rtol=1e-2)
    narrow = clone(model).fit((10 * X).astype(np.uint8), names)
    assert narrow.coef_.dtype == np.float32
    pipeline = make_pipeline(StandardScaler(), SoftmaxClassifierCV(l2s=[0.1, 1e-2], cv=3))
    assert pipeline.fit(X, names).score(X, names) > 0.9
    assert not hasattr(model, "partial_fit")


def test_saved_as_any_model(tmp_path):
    X, y = table(load_iris)
    model = SoftmaxClassifierCV(l2s=[1e-2, 1e-3], cv=3).fit(X, y)
    model.save(tmp_path / "model")
    again = softmargin.load(tmp_path / "model")
    assert type(again) is SoftmaxClassifier and again.l2 == model.l2_
    assert np.array_equal(again.predict(X), model.predict(X))


def test_folds_of_every_kind():
    X, y = table(load_iris)
    groups = np.arange(len(y)) % 5
    splits = list(GroupKFold(5).split(X, y, groups))
    by_rows = SoftmaxClassifierCV(l2s=[1e-2], cv=splits).fit(X, y)
    masks = [tuple(np.isin(np.arange(len(y)), rows) for rows in split) for split in splits]
    by_masks = SoftmaxClassifierCV(l2s=[1e-2], cv=masks).fit(X, y)
    assert np.array_equal(by_rows.losses_, by_masks.losses_) and by_rows.losses_.shape == (5, 1)


@pytest.mark.parametrize(
    "options,message",
    [
        ({"l2s": []}, "no L2 coefficient λ"),
        ({"l2s": [0.1, -1.0]}, "λ is -1"),
        ({"l2s": [np.nan]}, "λ is NaN"),
        ({"Cs": [0.0]}, "greater than 0"),
        ({"Cs": 0}, "Cs is 0"),
        ({"cv": 1}, "cv|splits"),
        ({"cv": [(np.arange(100), np.arange(100, 150))]}, "cv: 1 folds; there must be at least 2"),
        ({"cv": 2 * [(np.arange(100), np.arange(100, 151))]}, "rows 100 to 150, but there are 150 samples"),
        ({"cv": 2 * [(np.arange(100), np.arange(-1, 10))]}, "rows -1"),
        ({"cv": [(np.arange(100), np.arange(100, 150)), (np.arange(100), [])]}, "cv: a fold has no rows"),
        ({"cv": 2 * [(np.zeros(150, bool), np.ones(150, bool))]}, "cv: a fold has no rows"),
        ({"max_iter": 0}, "max_iter is 0"),
    ],
)
def test_parameters_out_of_range(options, message):
    X, y = table(load_iris)
    with pytest.raises(ValueError, match=message):
        SoftmaxClassifierCV(**options).fit(X, y)


def test_fits_that_do_not_converge_warn():
    X, y = table(load_iris)
    with pytest.warns(ConvergenceWarning, match="6 of the 6 fits of the cross-validation"):
        SoftmaxClassifierCV(l2s=[1e-6, 1e-7], cv=3, max_iter=1).fit(X, y)


def test_rows_of_folds_are_whole_numbers():
    X, y = np.arange(8.0)[:, None], np.arange(8) % 2
    folds = [(np.array([0.0, 1.5, 2.0]), [3]), ([0, 1, 2], [4])]
    with pytest.raises(ValueError, match="cv: a fold has rows of the type float64"):
        SoftmaxClassifierCV(l2s=[0.1], cv=folds).fit(X, y)
