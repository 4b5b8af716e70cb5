"""Estimators in scikit-learn's conventions."""

import collections
import contextlib
import json
import numbers
import os
import warnings

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from softmargin import _core

# What the kernels read where it lies: float64 and float32 are computed in as they are, the others in float32. Anything
# else is converted to the first one.
_DTYPES = [np.float64, np.float32, np.float16, np.uint8, np.int8]
_SPARSE_DTYPES = [np.float64, np.float32]


class _LinearClassifier(ClassifierMixin, BaseEstimator):
    """What the classifiers have in common. Subclasses name their loss by `_objective`."""

    def _objective(self):
        """The arguments of the loss."""
        raise NotImplementedError

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def fit(self, X, y, sample_weight=None):
        """Trains the model.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32 and float64 are computed in as they are, float16, uint8 and int8 in float32; all of them are read
            where they lie if rows or columns are contiguous. Anything else is converted to float64. SciPy's sparse
            matrices stay sparse (as CSR).
        y : array-like of shape (n_samples,)
            Labels of any type.
        sample_weight : array-like of shape (n_samples,), optional
            How much each sample counts.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For data that is not finite, with its row and value, and for parameters out of range. The estimator is what
            it was then.
        RuntimeError
            If the objective is not finite however short the steps. As before.

        Ctrl-C ends the fit; the best model so far is in the estimator then.
        """
        with _as_it_was(self):
            fitted = self._fit(X, y, sample_weight)
        if fitted.interrupt is not None:
            raise fitted.interrupt
        if not fitted.converged:
            warnings.warn(_warning(fitted), ConvergenceWarning, stacklevel=2)
        return self

    def _fit(self, X, y, sample_weight):
        _refuse_masked(X=X, y=y, sample_weight=sample_weight)
        X, y = validate_data(self, X, y, **_checks(X))
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"There must be at least 2 classes, but y has 1 class: {classes[0]!r}")
        weights = self._weights(X, y, codes, classes, sample_weight)
        total = _total(y, weights)
        l2 = self._fit_l2(X, y, codes, classes, weights, total)
        start = self._start(classes, X.shape[1], _computed(X))
        fitted = self._call(
            _core.fit,
            X,
            codes,
            *start,
            l2=l2,
            sample_weight=weights,
            max_iter=_whole("max_iter", self.max_iter),
            tol=self.tol,
            ftol=self.ftol,
            on_iteration=_print_iteration if self.verbose else None,
            **self._objective(),
        )
        self._keep(fitted, classes, l2, total, _steps(y))
        return fitted

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Goes on from the model that there is, by one epoch of minibatch SGD over these rows.

        For data that comes in chunks. The rows are taken 32 at a time, in an order drawn anew at every call. The t-th
        step, counted over all calls, is 1/√t as long as the curvature that these rows show allows; a fit counts as one
        epoch of steps. Features of similar size, as standardised ones, get there in the fewest steps. If the objective
        of these rows is higher after all steps, the steps are taken back, and `stop_reason_` is "no_progress".

        λ is `l2`, or follows from `C` where Z is the weight of all samples so far.

        Parameters
        ----------
        X, y, sample_weight
            As those of `fit`.
        classes : array-like, optional
            All labels that there will be: at the first call, unless there was a fit before. Later they may be left out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For labels that are none of the classes, for `class_weight="balanced"`, which would take all samples, and
            as `fit` does. The model is what it was then.

        Examples
        --------
        >>> from softmargin import SoftmaxClassifier
        >>> model = SoftmaxClassifier(l2=1e-3)
        >>> for X, y in [([[0.0], [3.0]], ["low", "high"]), ([[1.0], [2.0]], ["low", "high"])] * 50:
        ...     model = model.partial_fit(X, y, classes=["low", "high"])
        >>> model.predict([[0.5], [2.5]]).tolist()
        ['low', 'high']
        """
        with _as_it_was(self):
            self._partial_fit(X, y, classes, sample_weight)
        return self

    def _partial_fit(self, X, y, classes, sample_weight):
        _refuse_masked(X=X, y=y, classes=classes, sample_weight=sample_weight)
        first = not hasattr(self, "coef_")
        X, y = validate_data(self, X, y, **_checks(X), reset=first)
        check_classification_targets(y)
        classes = self._all_classes(classes, first)
        codes = _codes(y, classes)
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight={self.class_weight!r} is not supported for partial_fit, which does not see all samples; "
                "give a dict of the weights"
            )
        weights = self._weights(X, y, codes, classes, sample_weight)
        total = getattr(self, "total_weight_", 0.0) + _total(y, weights)
        l2 = self._l2(len(classes), total)
        if first:
            start = _zeros(classes, X.shape[1], _computed(X))
        else:
            start = _of_coef(self.coef_, self.intercept_)
            X = _as_wide(X, start[0].dtype)
        steps = getattr(self, "t_", 0)
        fitted = self._call(
            _core.step, X, codes, *start, l2=l2, sample_weight=weights, batch_size=_BATCH_SIZE, steps=steps, **self._objective()
        )
        if fitted.interrupt is not None:
            raise fitted.interrupt
        self._keep(fitted, classes, l2, total, steps + _steps(y))

    def _keep(self, fitted, classes, l2, total, steps):
        """Makes the estimator what was fitted."""
        if fitted.failed:
            raise RuntimeError(f"the fit failed: {fitted.stop_reason}; features of similar size may help")
        self.classes_ = classes
        self.coef_, self.intercept_ = _to_coef(fitted.weights, fitted.bias)
        self.n_iter_ = fitted.iterations
        self.l2_ = l2
        self.objective_ = fitted.objective
        self.gap_ = fitted.gap
        self.stop_reason_ = fitted.stop_reason
        self.total_weight_ = total
        self.t_ = steps

    def _all_classes(self, classes, first):
        """Those of the first `partial_fit`, sorted."""
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        given = None if classes is None else np.unique(np.asarray(classes))
        if given is not None and given.dtype.kind == "f" and np.isnan(given).any():
            raise ValueError(f"classes are {given.tolist()}, but no label is NaN")
        if first:
            if len(given) < 2:
                raise ValueError(f"There must be at least 2 classes, but classes are {given.tolist()}")
            return given
        if given is not None and not np.array_equal(given, self.classes_):
            raise ValueError(
                f"`classes={given.tolist()}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_.tolist()}"
            )
        return self.classes_

    def _weights(self, X, y, codes, classes, sample_weight):
        if sample_weight is None and self.class_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        sums = np.bincount(codes, weights=weights, minlength=len(classes))
        of_class = self._of_class(classes, y, sums)
        return weights * of_class[codes]

    def _of_class(self, classes, y, sums):
        """The weight of each class, of which the weights of the samples have these sums."""
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            return np.divide(sums.sum(), len(classes) * sums, out=np.zeros(len(sums)), where=sums > 0)
        of_class = compute_class_weight(self.class_weight, classes=classes, y=y)
        wrong = ~((of_class >= 0) & np.isfinite(of_class))
        if wrong.any():
            label, weight = classes[wrong].tolist()[0], of_class[wrong][0]
            raise ValueError(f"class_weight: that of {label!r} is {weight}; weights are finite and not negative")
        return of_class

    def _fit_l2(self, X, y, codes, classes, weights, total):
        """The λ of a fit."""
        return self._l2(len(classes), total)

    def _l2(self, n_classes, total):
        if self.l2 is not None:
            return _real("l2", self.l2)
        if not _real("C", self.C) > 0:
            raise ValueError(f"C is {self.C!r}; it must be greater than 0")
        # scikit-learn's single row of two classes counts half of what two rows do.
        return 1 / ((1 if n_classes == 2 else 2) * self.C * total)

    def _start(self, classes, n_features, dtype):
        if not (self.warm_start and hasattr(self, "coef_")):
            return _zeros(classes, n_features, dtype)
        if not np.array_equal(self.classes_, classes):
            raise ValueError(f"warm_start: the classes are {classes!r}, but they were {self.classes_!r}")
        return tuple(part.astype(dtype) for part in _of_coef(self.coef_, self.intercept_))

    def _call(self, function, *arguments, **options):
        """Calls a function of the core. Of a feature that is not finite, the error names the column, too, if it has a name."""
        try:
            return function(*arguments, **options)
        except _core.NonFiniteError as error:
            feature, names = getattr(error, "_feature", None), getattr(self, "feature_names_in_", None)
            if feature is None or names is None:
                raise
            raise _core.NonFiniteError(f"{error} (column {names[feature]!r})") from None

    def _features(self, X):
        """X and the model, in one type."""
        check_is_fitted(self)
        _refuse_masked(X=X)
        X = validate_data(self, X, **_checks(X), reset=False)
        return (_as_wide(X, self.coef_.dtype), *_of_coef(self.coef_, self.intercept_))

    def decision_function(self, X):
        """The scores: of shape (n_samples,) for two classes, those of `classes_[1]`, else (n_samples, n_classes)."""
        scores = self._call(_core.scores, *self._features(X))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """The class with the largest score; the first one of equals."""
        features = self._features(X)
        return self.classes_[self._call(_core.predict, *features)]

    def score(self, X, y, sample_weight=None):
        """The share of the samples, by their weights, whose class is predicted."""
        _refuse_masked(y=y, sample_weight=sample_weight)
        return super().score(X, y, sample_weight)

    def save(self, path):
        """Writes the model to a safetensors file, which the program `softmargin` and PyTorch's `nn.Linear` read.

        The file is replaced when the new one is whole. Labels must be whole numbers or strings.
        """
        check_is_fitted(self)
        labels = self.classes_.tolist()
        labels = [int(label) if isinstance(label, float) and label.is_integer() else label for label in labels]
        if not all(type(label) in (int, str) for label in labels):
            raise ValueError(f"the labels {labels} are neither whole numbers nor strings, as those of a file must be")
        for label in labels:
            if type(label) is int and not -(2**63) <= label < 2**63:
                raise ValueError(f"the label {label} is too large a number for a file, whose labels are of 64 bits with a sign")
        schema = {"n_features": self.n_features_in_}
        if hasattr(self, "feature_names_in_"):
            schema["columns"] = list(self.feature_names_in_)
        objective = self._objective()
        metadata = {
            "loss": objective["loss"],
            "l2": repr(self.l2_),
            "softmargin_version": _core.__version__,
            "labels": json.dumps(labels),
            "class_names": json.dumps([str(label) for label in labels]),
            "schema": json.dumps(schema),
        }
        if objective["loss"] != "cross_entropy":
            metadata["margin"] = repr(float(self.margin))
        if objective["label_smoothing"] > 0:
            metadata["label_smoothing"] = repr(float(objective["label_smoothing"]))
        _core.save(os.fspath(path), *_of_coef(self.coef_, self.intercept_), metadata)


@contextlib.contextmanager
def _as_it_was(estimator):
    """Gives an estimator back what it had before an error: names of features, for one, that its model does not have."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


class SoftmaxClassifier(_LinearClassifier):
    """Softmax (multinomial logistic) regression: cross-entropy and an L2 term, by L-BFGS, or by SGD (`partial_fit`).

    Parameters
    ----------
    C : float, default=1.0
        As that of `sklearn.linear_model.LogisticRegression`: λ is 1/(2 C Z) for three classes or more and 1/(C Z)
        for two, where Z is the sum of the weights of the samples.
    l2 : float, optional
        λ itself, in place of C: the mean loss plus λ ΣW² is minimised; the intercept is not regularised.
    label_smoothing : float, default=0.0
        The probability that is moved from the label to all classes in equal parts.
    class_weight : dict, "balanced" or None
        Weights of the classes; "balanced" makes all count the same.
    tol : float, default=1e-5
        The largest entry of the gradient of the mean loss that counts as none.
    ftol : float, default=1e-9
        The relative decrease of the objective in an iteration that counts as none.
    max_iter : int, default=1000
    warm_start : bool, default=False
        Start from the model of the previous fit.
    verbose : bool, default=False
        Print every iteration.

    Attributes
    ----------
    classes_ : the labels.
    coef_, intercept_ : of shapes (n_classes, n_features) and (n_classes,), or (1, n_features) and (1,) for two.
    n_iter_, objective_, stop_reason_, l2_ : iterations, the objective reached, why the fit ended there, and λ. After
        `partial_fit`, those of its rows.
    gap_ : a bound on how far the objective is above the least there is; NaN where none is known, as for λ = 0.
    total_weight_, t_ : the weight of all samples so far, and the steps of SGD, which `partial_fit` goes on from.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Examples
    --------
    >>> from softmargin import SoftmaxClassifier
    >>> SoftmaxClassifier(l2=1e-3).fit([[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]).predict([[2.5]])
    array(['high'], dtype='<U4')
    """

    def __init__(
        self,
        C=1.0,
        *,
        l2=None,
        label_smoothing=0.0,
        class_weight=None,
        tol=1e-5,
        ftol=1e-9,
        max_iter=1000,
        warm_start=False,
        verbose=False,
    ):
        self.C = C
        self.l2 = l2
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.tol = tol
        self.ftol = ftol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose

    def _objective(self):
        return {"loss": "cross_entropy", "margin": 1.0, "label_smoothing": self.label_smoothing}

    def predict_proba(self, X):
        """The probabilities, softmax of the scores, of shape (n_samples, n_classes)."""
        return self._call(_core.predict_proba, *self._features(X))

    def predict_log_proba(self, X):
        """The logarithms of the probabilities, also of those that are too small for their type."""
        scores = self._call(_core.scores, *self._features(X))
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class HingeClassifier(_LinearClassifier):
    """Multiclass support vector machine: a hinge loss and an L2 term.

    The losses with kinks, "hinge" and "crammer_singer", go past them to the optimum by dual coordinate ascent, which takes
    memory for N × C numbers, and the longer the smaller λ is. "squared_hinge" is minimised by L-BFGS, and so are the
    others where λ = 0; `partial_fit` takes steps of SGD.

    Parameters
    ----------
    C : float, default=1.0
        λ is 1/(2 C Z) for three classes or more and 1/(C Z) for two, where Z is the sum of the weights of the
        samples: LIBLINEAR's for two classes, but that the intercept is not regularised.
    l2 : float, optional
        λ itself, in place of C: the mean loss plus λ ΣW² is minimised.
    loss : {"hinge", "squared_hinge", "crammer_singer"}, default="hinge"
        Σ max(0, s_j - s_y + margin) over the other classes (Weston and Watkins); the same with squares, which has no
        kinks; or the largest of them alone (Crammer and Singer).
    margin : float, default=1.0
    tol : float, default=1e-4
        Of dual ascent, the `gap_` that counts as none, relative to the objective; of L-BFGS, the largest entry of the
        gradient that does.
    class_weight, ftol, max_iter, warm_start, verbose
        As those of `SoftmaxClassifier`; dual ascent has no `ftol`.

    By L-BFGS with a loss with kinks (λ = 0), a small decrease shows no convergence: a fit that ends so warns, and its
    `stop_reason_` is "kink".

    Attributes are those of `SoftmaxClassifier`.

    Examples
    --------
    >>> from softmargin import HingeClassifier
    >>> svm = HingeClassifier(loss="squared_hinge", l2=1e-3)
    >>> svm.fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]).predict([[0.5], [2.5]])
    array([0, 1])
    """

    def __init__(
        self,
        C=1.0,
        *,
        l2=None,
        loss="hinge",
        margin=1.0,
        class_weight=None,
        tol=1e-4,
        ftol=1e-9,
        max_iter=1000,
        warm_start=False,
        verbose=False,
    ):
        self.C = C
        self.l2 = l2
        self.loss = loss
        self.margin = margin
        self.class_weight = class_weight
        self.tol = tol
        self.ftol = ftol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.verbose = verbose

    def _objective(self):
        if self.loss not in _HINGES:
            raise ValueError(f"unknown loss {self.loss!r} (known: {', '.join(_HINGES)})")
        return {"loss": self.loss, "margin": self.margin, "label_smoothing": 0.0}


_HINGES = ("hinge", "squared_hinge", "crammer_singer")

# Samples a step of SGD.
_BATCH_SIZE = 32

_ADVICE = {
    "kink": (
        "the fit ended after {n} iterations where the objective falls no further, which may be the optimum or a kink "
        "of the loss; loss=\"squared_hinge\" has none, and l2 above 0 leads past them"
    ),
    "stalled": (
        "after {n} iterations the objective hardly comes nearer to the least there is, for want of digits or for a small "
        "λ; scale the features, compute in float64, or allow for a larger tol"
    ),
    "no_progress": "no better model was found than the one that the fit began with: it may be optimal, or at a kink",
}
_STOPPED = "the fit ended before it converged, after {n} iterations ({reason}); raise max_iter, or scale the features"


def _warning(fitted):
    """What is to be said of a fit that did not converge."""
    text = _ADVICE.get(fitted.stop_reason, _STOPPED).format(n=fitted.iterations, reason=fitted.stop_reason)
    if np.isnan(fitted.gap):
        return f"{text}: the gradient has an entry of {fitted.gradient_norm:.2g}"
    return f"{text}: the objective {fitted.objective:.6g} is at most {fitted.gap:.2g} above the least there is"


def _refuse_masked(**arrays):
    """Refuses masked values, which scikit-learn would take as they lie there."""
    for name, array in arrays.items():
        _core._refuse_masked(array, name)


def _checks(X):
    """How scikit-learn is to check X. That values are finite is checked when they are computed with."""
    checks = {"accept_sparse": "csr", "ensure_all_finite": False}
    return checks | {"dtype": _SPARSE_DTYPES if issparse(X) else _DTYPES}


def _computed(X):
    """The type that is computed in."""
    return np.float64 if X.dtype == np.float64 else np.float32


def _as_wide(X, dtype):
    """X in the type of a model, if that is the wider one: a model in float64 has digits that float32 would lose."""
    return X.astype(dtype, copy=False) if X.dtype == np.float32 else X


def _zeros(classes, n_features, dtype):
    return np.zeros((len(classes), n_features), dtype), np.zeros(len(classes), dtype)


def _codes(y, classes):
    """The number of each label among the classes."""
    labels, places = np.unique(y, return_inverse=True)
    numbers = {label: number for number, label in enumerate(classes.tolist())}
    codes = np.array([numbers.get(label, -1) for label in labels.tolist()])[places]
    if (codes < 0).any():
        row = int(codes.argmin())
        label = y[row : row + 1].tolist()[0]
        raise ValueError(f"row {row} has label {label!r}, which is none of the classes {classes.tolist()}")
    return codes


def _total(y, weights):
    """Z."""
    total = float(len(y)) if weights is None else float(weights.sum(dtype=np.float64))
    if total == 0:
        raise ValueError(f"the weights of all {len(y)} samples sum to 0")
    return total


def _steps(y):
    """Those of an epoch of SGD."""
    return -(-len(y) // _BATCH_SIZE)


def _to_coef(weights, bias):
    """scikit-learn has a single row for two classes."""
    return (weights[1:] - weights[:1], bias[1:] - bias[:1]) if len(bias) == 2 else (weights, bias)


def _of_coef(coef, intercept):
    """A row for each class: at the optimum of two, they are opposite."""
    coef, intercept = np.asarray(coef), np.asarray(intercept)
    if len(coef) != 1:
        return coef, intercept
    return np.concatenate([-coef / 2, coef / 2]), np.concatenate([-intercept / 2, intercept / 2])


def _real(name, value):
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}; it must be a real number")
    return float(value)


def _whole(name, value):
    if not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{name} is {value!r}; it must be a whole number, at least 1")
    return int(value)


def _print_iteration(iteration, objective, norm):
    print(f"iteration {iteration}: objective {objective:.8g}, largest entry of the gradient {norm:.2g}", flush=True)


def load(path):
    """The classifier in a file that `save` or the program `softmargin` wrote, or the weights of a PyTorch `nn.Linear`.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is no model, or one of a loss that is not known here.
    """
    path = os.fspath(path)
    with open(path, "rb") as file:
        contents = file.read()
    try:
        weights, bias, metadata = _core.load(contents)
        schema = json.loads(metadata.get("schema", "{}"))
        labels = json.loads(metadata.get("labels", "null"))
        names = json.loads(metadata.get("class_names", "[]"))
        l2 = float(metadata.get("l2", "0"))
        margin = float(metadata.get("margin", "1"))
        smoothing = float(metadata.get("label_smoothing", "0"))
        loss = metadata.get("loss", "cross_entropy")
        if loss != "cross_entropy" and loss not in _HINGES:
            raise ValueError(f"its loss is {loss!r}, which this version does not know")
        if labels is None:
            labels = list(range(len(bias)))
        for key, what, items in ("labels", "label", labels), ("class_names", "name", names):
            if not isinstance(items, list) or any(type(item) not in (int, str) for item in items):
                raise ValueError(f"its {key!r} cannot be read")
            again = [item for item, count in collections.Counter(items).items() if count > 1]
            if again:
                raise ValueError(f"two classes have the {what} {again[0]!r}")
        if len(labels) != len(bias):
            raise ValueError(f"it names {len(labels)} classes, but has {len(bias)}")
        if len(bias) < 2:
            raise ValueError("it has a single class")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if loss == "cross_entropy":
        model = SoftmaxClassifier(l2=l2, label_smoothing=smoothing)
    else:
        model = HingeClassifier(l2=l2, loss=loss, margin=margin)
    # Numbers and names side by side stay what they are.
    mixed = len({type(label) for label in labels}) > 1
    model.classes_ = np.array(labels, dtype=object if mixed else None)
    model.coef_, model.intercept_ = _to_coef(weights, bias)
    model.n_features_in_ = weights.shape[1]
    model.l2_ = l2
    if schema.get("columns"):
        model.feature_names_in_ = np.array(schema["columns"], dtype=object)
    return model
