"""Estimators in scikit-learn's conventions."""

import json
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
            For data that is not finite, with its row and value, and for parameters out of range.
        RuntimeError
            If the objective is not finite however short the steps.

        Ctrl-C ends the fit; the best model so far is in the estimator then.
        """
        X, y = validate_data(self, X, y, **_checks(X))
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"There must be at least 2 classes, but y has 1 class: {classes[0]!r}")
        weights = self._weights(X, y, codes, classes, sample_weight)
        total = float(len(y)) if weights is None else float(weights.sum(dtype=np.float64))
        if total == 0:
            raise ValueError(f"the weights of all {len(y)} samples sum to 0")
        l2 = self._l2(len(classes), total)
        start = self._start(classes, X.shape[1], _computed(X))
        fitted = _core.fit(
            X,
            codes,
            *start,
            l2=l2,
            sample_weight=weights,
            max_iter=_whole("max_iter", self.max_iter),
            memory=10,
            tol=self.tol,
            ftol=self.ftol,
            on_iteration=_print_iteration if self.verbose else None,
            **self._objective(),
        )
        if fitted.failed:
            raise RuntimeError(f"the fit failed: {fitted.stop_reason}; features of similar size may help")
        self.classes_ = classes
        self.coef_, self.intercept_ = _to_coef(fitted.weights, fitted.bias)
        self.n_iter_ = fitted.iterations
        self.l2_ = l2
        self.objective_ = fitted.objective
        self.stop_reason_ = fitted.stop_reason
        if fitted.interrupt is not None:
            raise fitted.interrupt
        if not fitted.converged:
            warnings.warn(_ADVICE.get(fitted.stop_reason, _STOPPED).format(
                reason=fitted.stop_reason, n=fitted.iterations, norm=fitted.gradient_norm
            ), ConvergenceWarning, stacklevel=2)
        return self

    def _weights(self, X, y, codes, classes, sample_weight):
        if sample_weight is None and self.class_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            sums = np.bincount(codes, weights=weights, minlength=len(classes))
            of_class = np.divide(weights.sum(), len(classes) * sums, out=np.zeros(len(sums)), where=sums > 0)
        else:
            of_class = compute_class_weight(self.class_weight, classes=classes, y=y)
        return (weights * of_class[codes]).astype(_computed(X), copy=False)

    def _l2(self, n_classes, total):
        if self.l2 is not None:
            return float(self.l2)
        if not self.C > 0:
            raise ValueError(f"C is {self.C!r}; it must be greater than 0")
        # scikit-learn's single row of two classes counts half of what two rows do.
        return 1 / ((1 if n_classes == 2 else 2) * self.C * total)

    def _start(self, classes, n_features, dtype):
        if not (self.warm_start and hasattr(self, "coef_")):
            return np.zeros((len(classes), n_features), dtype), np.zeros(len(classes), dtype)
        if not np.array_equal(self.classes_, classes):
            raise ValueError(f"warm_start: the classes are {classes!r}, but they were {self.classes_!r}")
        return tuple(part.astype(dtype) for part in _of_coef(self.coef_, self.intercept_))

    def _features(self, X):
        """X and the model, in one type."""
        check_is_fitted(self)
        X = validate_data(self, X, **_checks(X), reset=False)
        # A model in float64 has digits that float32 would lose.
        if X.dtype == np.float32:
            X = X.astype(self.coef_.dtype, copy=False)
        return (X, *_of_coef(self.coef_, self.intercept_))

    def decision_function(self, X):
        """The scores: of shape (n_samples,) for two classes, those of `classes_[1]`, else (n_samples, n_classes)."""
        scores = _core.scores(*self._features(X))
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """The class with the largest score; the first one of equals."""
        features = self._features(X)
        return self.classes_[_core.predict(*features)]

    def save(self, path):
        """Writes the model to a safetensors file, which the program `softmargin` and PyTorch's `nn.Linear` read.

        The file is replaced when the new one is whole. Labels must be whole numbers or strings.
        """
        check_is_fitted(self)
        labels = self.classes_.tolist()
        if any(isinstance(label, float) and label.is_integer() for label in labels):
            labels = [int(label) for label in labels]
        if not all(type(label) in (int, str) for label in labels):
            raise ValueError(f"the labels {labels} are neither whole numbers nor strings, as those of a file must be")
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
        _core.save(os.fspath(path), *_of_coef(self.coef_, self.intercept_), metadata)


class SoftmaxClassifier(_LinearClassifier):
    """Softmax (multinomial logistic) regression: cross-entropy and an L2 term, by L-BFGS.

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
    n_iter_, objective_, stop_reason_, l2_ : iterations, the objective reached, why the fit ended there, and λ.
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
        return _core.predict_proba(*self._features(X))

    def predict_log_proba(self, X):
        """The logarithms of the probabilities, also of those that are too small for their type."""
        scores = _core.scores(*self._features(X))
        scores -= scores.max(axis=1, keepdims=True)
        return scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))


class HingeClassifier(_LinearClassifier):
    """Multiclass support vector machine: a hinge loss and an L2 term, by L-BFGS.

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
    class_weight, tol, ftol, max_iter, warm_start, verbose
        As those of `SoftmaxClassifier`.

    Of a loss with kinks, a small decrease shows no convergence: a fit that ends so warns, and its `stop_reason_` is
    "kink". "squared_hinge" converges.

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
        tol=1e-5,
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

_STOPPED = "the fit ended before it converged, after {n} iterations ({reason}): the gradient has an entry of {norm:.2g}"
_ADVICE = {
    "max_iterations": _STOPPED + "; raise max_iter, or scale the features",
    "kink": (
        "the fit ended after {n} iterations where the objective falls no further, which may be the optimum or a kink "
        "of the loss; loss=\"squared_hinge\" has none"
    ),
    "no_progress": "no better model was found than the one that the fit began with: it may be optimal, or at a kink",
}


def _checks(X):
    """How scikit-learn is to check X. That values are finite is checked when they are computed with."""
    checks = {"accept_sparse": "csr", "ensure_all_finite": False}
    return checks | {"dtype": _SPARSE_DTYPES if issparse(X) else _DTYPES}


def _computed(X):
    """The type that is computed in."""
    return np.float64 if X.dtype == np.float64 else np.float32


def _to_coef(weights, bias):
    """scikit-learn has a single row for two classes."""
    return (weights[1:] - weights[:1], bias[1:] - bias[:1]) if len(bias) == 2 else (weights, bias)


def _of_coef(coef, intercept):
    """A row for each class: at the optimum of two, they are opposite."""
    coef, intercept = np.asarray(coef), np.asarray(intercept)
    if len(coef) != 1:
        return coef, intercept
    return np.concatenate([-coef / 2, coef / 2]), np.concatenate([-intercept / 2, intercept / 2])


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
        l2 = float(metadata.get("l2", "0"))
        margin = float(metadata.get("margin", "1"))
        loss = metadata.get("loss", "cross_entropy")
        if loss != "cross_entropy" and loss not in _HINGES:
            raise ValueError(f"its loss is {loss!r}, which this version does not know")
        if labels is None:
            labels = list(range(len(bias)))
        if len(labels) != len(bias):
            raise ValueError(f"it names {len(labels)} classes, but has {len(bias)}")
        if len(bias) < 2:
            raise ValueError("it has a single class")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    model = SoftmaxClassifier(l2=l2) if loss == "cross_entropy" else HingeClassifier(l2=l2, loss=loss, margin=margin)
    # Numbers and names side by side stay what they are.
    mixed = len({type(label) for label in labels}) > 1
    model.classes_ = np.array(labels, dtype=object if mixed else None)
    model.coef_, model.intercept_ = _to_coef(weights, bias)
    model.n_features_in_ = weights.shape[1]
    model.l2_ = l2
    if schema.get("columns"):
        model.feature_names_in_ = np.array(schema["columns"], dtype=object)
    return model
