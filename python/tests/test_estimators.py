import pickle
import signal
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import softmargin
from softmargin import HingeClassifier, SoftmaxClassifier, SoftmaxClassifierCV


def table(load, dtype=np.float64):
    X, y = load(return_X_y=True)
    return ((X - X.mean(0)) / X.std(0)).astype(dtype), y


# Weights and repetitions are the same problem, but not the same iterations: what is compared to seven digits is to be
# converged to as many.
PRECISE = {"tol": 1e-11, "ftol": 0.0}


@parametrize_with_checks(
    [SoftmaxClassifier(**PRECISE), HingeClassifier(loss="squared_hinge", **PRECISE), HingeClassifier(tol=1e-9)]
)
def test_the_conventions_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize("load", [load_iris, load_wine, load_breast_cancer])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_model_of_scikit_learn(load, weighted):
    X, y = table(load)
    weights = np.linspace(0.5, 1.5, len(y)) if weighted else None
    options = {"C": 0.3, "class_weight": "balanced" if weighted else None}
    theirs = LogisticRegression(tol=1e-10, max_iter=10_000, **options).fit(X, y, weights)
    ours = SoftmaxClassifier(tol=1e-9, ftol=0.0, **options).fit(X, y, weights)
    assert ours.coef_.shape == theirs.coef_.shape
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-5)
    np.testing.assert_allclose(ours.decision_function(X), theirs.decision_function(X), atol=1e-4)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), atol=1e-5)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-4)
    assert (ours.predict(X) == theirs.predict(X)).all()


def test_c_and_l2_are_the_same_thing():
    X, y = table(load_iris)
    by_c = SoftmaxClassifier(C=2.0).fit(X, y)
    by_l2 = SoftmaxClassifier(l2=1 / (2 * 2.0 * len(y))).fit(X, y)
    assert by_c.l2_ == by_l2.l2_ and np.array_equal(by_c.coef_, by_l2.coef_)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", [SoftmaxClassifier(), HingeClassifier(loss="squared_hinge")])
def test_types_labels_and_layouts(dtype, model):
    X, y = table(load_wine, dtype)
    names = np.array(["red", "rosé", "white"])[y]
    model = clone(model).fit(np.asfortranarray(X), names)
    assert model.coef_.dtype == model.decision_function(X).dtype == dtype
    assert model.score(X, names) > 0.98
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(X), model.predict(X))


def test_in_pipelines_and_searches():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), SoftmaxClassifier())
    search = GridSearchCV(pipeline, {"softmaxclassifier__C": [0.01, 1.0]}, n_jobs=2).fit(X, y)
    assert search.best_score_ > 0.95


def test_names_of_features():
    X, y = table(load_iris)
    frame = pd.DataFrame(X, columns=["a", "b", "c", "d"])
    model = SoftmaxClassifier().fit(frame, y)
    assert list(model.feature_names_in_) == ["a", "b", "c", "d"] and model.n_features_in_ == 4
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[["b", "a", "c", "d"]])


def test_a_warm_start_is_soon_done():
    X, y = table(load_breast_cancer)
    model = SoftmaxClassifier(C=0.1, warm_start=True).fit(X, y)
    first = model.n_iter_
    assert model.fit(X, y).n_iter_ < first
    with pytest.raises(ValueError, match="warm_start: the classes"):
        model.fit(X, y + 1)


def test_a_fit_that_does_not_converge_warns():
    X, y = table(load_wine)
    with pytest.warns(ConvergenceWarning, match="after 1 iterations.*raise max_iter"):
        SoftmaxClassifier(max_iter=1, l2=1e-6).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = SoftmaxClassifier().fit(X, y)
    assert model.stop_reason_ in ("gradient_tolerance", "relative_decrease")


@pytest.mark.parametrize(
    "options,message",
    [
        ({"C": 0.0}, "C is 0.0; it must be greater than 0"),
        ({"l2": -1.0}, "λ is -1"),
        ({"tol": -1.0}, "gradient tolerance is -1"),
        ({"max_iter": 0}, "max_iter is 0"),
        ({"max_iter": 1.5}, "max_iter is 1.5"),
        ({"label_smoothing": 2.0}, "2"),
    ],
)
def test_parameters_out_of_range(options, message):
    X, y = table(load_iris)
    with pytest.raises(ValueError, match=message):
        SoftmaxClassifier(**options).fit(X, y)


@pytest.mark.parametrize("name", ["C", "l2", "tol", "ftol", "label_smoothing"])
@pytest.mark.parametrize("value", ["x", [1.0]])
def test_parameters_of_another_kind(name, value):
    X, y = table(load_iris)
    with pytest.raises(TypeError, match=f"^{name}.* real number"):
        SoftmaxClassifier(**{name: value}).fit(X, y)


def test_what_is_not_finite_is_named():
    X, y = table(load_iris)
    X[7, 2] = np.inf
    with pytest.raises(ValueError, match="row 7: feature 2 is inf"):
        SoftmaxClassifier().fit(X, y)
    # And the column, where it has a name.
    names = [f"column {i}" for i in range(4)]
    frame, whole = pd.DataFrame(X, columns=names), pd.DataFrame(table(load_iris)[0], columns=names)
    for model in (SoftmaxClassifier(), SoftmaxClassifierCV(l2s=[1e-2], cv=3)):
        with pytest.raises(softmargin.NonFiniteError, match=r"row \d+: feature 2 is inf \(column 'column 2'\)"):
            model.fit(frame, y)
    with pytest.raises(softmargin.NonFiniteError, match="row 7: feature 2 is inf .*'column 2'"):
        SoftmaxClassifier().partial_fit(frame, y, classes=np.unique(y))
    model = SoftmaxClassifier(l2=1e-2).fit(whole, y)
    for predict in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(softmargin.NonFiniteError, match="row 7: feature 2 is inf .*'column 2'"):
            predict(frame)
    with pytest.raises(ValueError, match="unknown loss 'log'"):
        HingeClassifier(loss="log").fit(*table(load_iris))


@pytest.mark.parametrize("loss", ["hinge", "crammer_singer"])
@pytest.mark.parametrize("load", [load_iris, load_breast_cancer])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_losses_with_kinks_reach_the_optimum(loss, load, dtype):
    X, y = table(load, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = HingeClassifier(l2=1e-2, loss=loss).fit(X, y)
    assert model.stop_reason_ == "gap" and 0 <= model.gap_ <= 1e-4 * model.objective_
    assert model.coef_.dtype == dtype
    # No model is better than the bound says.
    W, b = (model.coef_, model.intercept_) if len(model.coef_) > 1 else _two(model)
    evaluator = softmargin.Evaluator(loss=loss, l2=1e-2)
    assert evaluator.loss(X, y, W, b) == pytest.approx(model.objective_, rel=1e-6)
    random = np.random.default_rng(0)
    for scale in (1e-3, 1e-2, 1e-1):
        other = (W + scale * random.normal(size=W.shape)).astype(dtype)
        assert evaluator.loss(X, y, other, b) > model.objective_ - model.gap_


def _two(model):
    return np.vstack([-model.coef_ / 2, model.coef_ / 2]), np.array([-model.intercept_[0] / 2, model.intercept_[0] / 2])


@pytest.mark.parametrize("dtype,tolerance", [(np.float32, 1e-2), (np.float64, 1e-3)])
def test_the_support_vector_machine_of_scikit_learn(dtype, tolerance):
    # Of two classes, ours is theirs with two opposite rows.
    X, y = table(load_breast_cancer, dtype)
    theirs = SVC(kernel="linear", C=0.1, tol=1e-8).fit(X, y)
    ours = HingeClassifier(C=0.1, tol=1e-5 if dtype == np.float32 else 1e-9).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=tolerance)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_, atol=tolerance)
    assert (ours.predict(X) == theirs.predict(X)).mean() > 0.99


def test_gaps():
    X, y = table(load_wine)
    model = SoftmaxClassifier(l2=1e-2, tol=1e-8, ftol=0.0).fit(X, y)
    assert 0 <= model.gap_ < 1e-9
    best = model.objective_
    with pytest.warns(ConvergenceWarning, match=r"after 3 iterations .*: the objective .* at most .* above the least"):
        early = SoftmaxClassifier(l2=1e-2, tol=1e-12, ftol=0.0, max_iter=3).fit(X, y)
    assert early.gap_ >= early.objective_ - best > 0
    with pytest.warns(ConvergenceWarning, match=r"after 1 iterations \(max_iterations\).*raise max_iter.*at most"):
        early = HingeClassifier(l2=1e-2, max_iter=1).fit(X, y)
    assert early.gap_ >= early.objective_ - HingeClassifier(l2=1e-2).fit(X, y).objective_ > 0
    # Where no bound is known.
    assert np.isnan(SoftmaxClassifier(l2=0.0).fit(X[:, :2], y).gap_)
    # The smooth hinge has one, too.
    squared = HingeClassifier(l2=1e-2, loss="squared_hinge", tol=1e-9, ftol=0.0).fit(X, y)
    assert 0 <= squared.gap_ < 1e-9
    with pytest.warns(ConvergenceWarning, match="kink.*l2 above 0.*the gradient has an entry of"):
        model = HingeClassifier(l2=0.0).fit(X[:, :1], y)
    assert model.stop_reason_ == "kink" and np.isnan(model.gap_)


def test_verbose(capsys):
    SoftmaxClassifier(verbose=True).fit(*table(load_iris))
    assert capsys.readouterr().out.startswith("iteration 0: objective 1.0986")


@pytest.fixture
def ctrl_c():
    # A process in the background may have been started without it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_fit_and_keeps_the_model(monkeypatch, ctrl_c):
    def interrupt(iteration, objective, norm):
        if iteration == 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("softmargin._estimators._print_iteration", interrupt)
    X, y = table(load_wine)
    model = SoftmaxClassifier(l2=1e-6, tol=0.0, ftol=0.0, verbose=True)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    assert model.n_iter_ == 2 and model.coef_.any() and model.stop_reason_ == "interrupted"
    assert model.score(X, y) > 0.9


def test_files(tmp_path):
    path = tmp_path / "model.safetensors"
    for load in (load_iris, load_breast_cancer):
        X, y = table(load)
        for labels in (y, np.array(["x", "y", "z"])[y]):
            for model in (SoftmaxClassifier(l2=0.01), HingeClassifier(l2=0.01, loss="squared_hinge", margin=2.0)):
                frame = pd.DataFrame(X).add_prefix("f")
                model.fit(frame, labels).save(path)
                again = softmargin.load(path)
                assert type(again) is type(model) and again.l2 == 0.01
                assert np.array_equal(again.coef_, model.coef_)
                assert np.array_equal(again.predict(frame), model.predict(frame))
                assert list(again.feature_names_in_) == list(frame.columns)
                again.fit(X, labels)
    with pytest.raises(ValueError, match="neither whole numbers nor strings"):
        SoftmaxClassifier().fit(X, y == 1).save(path)
    with pytest.raises(ValueError, match="label 9223372036854775808 is too large a number"):
        SoftmaxClassifier().fit(X, y.astype(np.uint64) << np.uint64(63)).save(path)
    model.fit(X, np.where(y == 1, 2**63 - 1, -(2**63))).save(path)
    assert softmargin.load(path).classes_.tolist() == [-(2**63), 2**63 - 1]
    for key, value, message in [
        ("class_names", '["cat", "cat"]', "two classes have the name 'cat'"),
        ("labels", "[7, 7]", "two classes have the label 7"),
        ("labels", "[1, 2, 3]", "it names 3 classes, but has 2"),
        ("labels", "[[1], [2]]", "its 'labels' cannot be read"),
    ]:
        softmargin._core.save(path, np.zeros((2, 3)), np.zeros(2), {key: value})
        with pytest.raises(ValueError, match=f"{path.name}: {message}"):
            softmargin.load(path)
    with pytest.raises(FileNotFoundError):
        softmargin.load(tmp_path / "none")
    with pytest.raises(OSError, match="folder does not exist"):
        model.save(tmp_path / "none" / "model")
    np.save(tmp_path / "x.npy", X)
    path.write_bytes(b"not a model")
    for other in (path, tmp_path / "x.npy"):
        with pytest.raises(ValueError, match=f"{other.name}: no valid safetensors file"):
            softmargin.load(other)


@pytest.mark.parametrize("classifier", [SoftmaxClassifier(), HingeClassifier(), SoftmaxClassifierCV(cv=2)])
def test_weights_of_classes_that_are_none(classifier):
    X, y = table(load_iris)
    for weight in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"class_weight: that of 1 is {weight}; weights are finite"):
            clone(classifier).set_params(class_weight={1: weight}).fit(X, y)


def test_masked_values_are_refused():
    X, y = table(load_iris)
    arrays = {"X": X, "y": y, "sample_weight": np.ones(len(y))}
    for name, array in arrays.items():
        for mask, refused in [(np.ma.nomask, False), (False, False), (np.arange(array.size).reshape(array.shape) == 7, True)]:
            changed = {**arrays, name: np.ma.MaskedArray(array, mask)}
            for classifier in (SoftmaxClassifier(l2=0.1), HingeClassifier(l2=0.1), SoftmaxClassifierCV(l2s=[0.1], cv=2)):
                fitted = clone(classifier).fit(X, y)
                calls = [clone(classifier).fit, fitted.score]
                if not isinstance(classifier, SoftmaxClassifierCV):
                    calls.append(fitted.partial_fit)
                for call in calls:
                    if refused:
                        with pytest.raises(ValueError, match=f"^{name} has masked values"):
                            call(**changed)
                    else:
                        call(**changed)
                if refused and name == "X":
                    with pytest.raises(ValueError, match="^X has masked values"):
                        fitted.predict(changed["X"])
    with pytest.raises(ValueError, match="^classes has masked values"):
        SoftmaxClassifier().partial_fit(X, y, classes=np.ma.MaskedArray([0, 1, 2, 3], [0, 0, 0, 1]))


@pytest.mark.parametrize("dtype", [np.float16, np.uint8])
def test_features_are_not_widened(dtype):
    X, y = load_iris(return_X_y=True)
    X = (10 * X).astype(dtype)
    narrow = SoftmaxClassifier(l2=1e-3).fit(X, y)
    wide = SoftmaxClassifier(l2=1e-3).fit(X.astype(np.float32), y)
    assert narrow.coef_.dtype == np.float32
    assert (narrow.coef_ == wide.coef_).all()
    assert (narrow.decision_function(X) == wide.decision_function(X.astype(np.float32))).all()
    assert (narrow.predict(X) == wide.predict(X)).all()


@pytest.mark.parametrize("classifier", [SoftmaxClassifier, HingeClassifier])
def test_sparse_features(classifier):
    X, y = table(load_wine)
    X[np.abs(X) < 0.5] = 0
    options = {"l2": 1e-2} if classifier is SoftmaxClassifier else {"l2": 1e-2, "loss": "squared_hinge"}
    dense, thin = classifier(**options).fit(X, y), classifier(**options).fit(sparse.csr_matrix(X), y)
    np.testing.assert_allclose(thin.coef_, dense.coef_, atol=1e-4)
    np.testing.assert_allclose(thin.decision_function(sparse.csc_array(X)), thin.decision_function(X))
    assert thin.score(sparse.csr_matrix(X), y) == thin.score(X, y)


@pytest.mark.parametrize("wrong", ["names", "width", "labels"])
def test_a_fit_that_fails_changes_nothing(wrong):
    X, y = table(load_iris)
    frame = pd.DataFrame(X, columns=list("abcd"))
    bad = {"names": frame[list("dcba")], "width": frame[["a", "b"]], "labels": frame}[wrong].copy()
    bad.iloc[5, 0] = np.nan
    for fit in ("fit", "partial_fit"):
        arguments = {"classes": np.unique(y)} if fit == "partial_fit" else {}
        new = SoftmaxClassifier(l2=0.01)
        with pytest.raises(ValueError):
            getattr(new, fit)(bad, y, **arguments)
        with pytest.raises(NotFittedError):
            new.predict(frame)
        fitted = SoftmaxClassifier(l2=0.01).fit(frame, y)
        before = fitted.predict_proba(frame)
        with pytest.raises(ValueError):
            getattr(fitted, fit)(bad, y)
        assert fitted.feature_names_in_.tolist() == list("abcd")
        assert np.array_equal(fitted.predict_proba(frame), before)


def test_label_smoothing_is_saved(tmp_path):
    X, y = table(load_iris)
    fitted = SoftmaxClassifier(l2=0.01, label_smoothing=0.1).fit(X, y)
    fitted.save(tmp_path / "model")
    loaded = softmargin.load(tmp_path / "model")
    assert loaded.label_smoothing == 0.1
    assert np.array_equal(loaded.fit(X, y).coef_, fitted.coef_)
