"""Estimators that choose λ by cross-validation."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import check_cv

from softmargin import _core
from softmargin._estimators import HingeClassifier, SoftmaxClassifier, _computed, _whole, _zeros


class _CrossValidated:
    """What is different of a classifier that chooses its λ: `fit` asks for it, and then fits all samples."""

    # A fit depends on nothing but its data.
    warm_start = False

    @property
    def partial_fit(self):
        raise AttributeError("cross-validation takes all samples at once: there is no partial_fit")

    def _fit_l2(self, X, y, codes, classes, weights, total):
        n_classes = len(classes)
        l2s = self._l2s(n_classes, total)
        folds = [
            tuple(_rows(part, len(y)) for part in fold)
            for fold in check_cv(self.cv, y, classifier=True).split(X, y)
        ]
        if len(folds) < 2:
            raise ValueError(f"cv: {len(folds)} folds; there must be at least 2, as each λ is judged by the mean over them")
        found = self._call(
            _core.cross_validate,
            X,
            codes,
            *_zeros(classes, X.shape[1], _computed(X)),
            l2s=l2s.tolist(),
            sample_weight=weights,
            folds=folds,
            max_iter=_whole("max_iter", self.max_iter),
            tol=self.tol,
            ftol=self.ftol,
            **self._objective(),
        )
        self.l2s_ = found.l2s
        self.losses_ = found.losses
        self.scores_ = found.accuracies
        self.mean_losses_ = found.mean_losses
        self.standard_errors_ = found.standard_errors
        self.l2_one_standard_error_ = found.one_standard_error
        with np.errstate(divide="ignore"):
            self.Cs_ = 1 / (_rows_of_l2(n_classes) * total * found.l2s)
            self.C_ = float(self.Cs_[np.flatnonzero(found.l2s == found.best)[0]])
        not_converged, fits = found.not_converged
        if not_converged:
            text = f"{not_converged} of the {fits} fits of the cross-validation did not converge; raise max_iter, or scale"
            warnings.warn(f"{text} the features", ConvergenceWarning, stacklevel=4)
        return found.best

    def _l2s(self, n_classes, total):
        if self.l2s is not None:
            return np.asarray(self.l2s, dtype=np.float64).ravel()
        Cs = self.Cs
        if isinstance(Cs, (int, np.integer)):
            Cs = np.logspace(-4, 4, _whole("Cs", Cs))
        Cs = np.asarray(Cs, dtype=np.float64).ravel()
        if not (Cs > 0).all():
            raise ValueError(f"Cs are {Cs.tolist()}; they must be greater than 0")
        return 1 / (_rows_of_l2(n_classes) * Cs * total)


def _rows_of_l2(n_classes):
    """scikit-learn's single row of two classes counts half of what two rows do."""
    return 1 if n_classes == 2 else 2


def _rows(part, n_samples):
    """Rows of a fold, as numbers."""
    part = np.asarray(part)
    rows = np.flatnonzero(part) if part.dtype == bool else part
    if len(rows) == 0:
        raise ValueError("cv: a fold has no rows to train on, or holds out none")
    if rows.dtype.kind not in "iu":
        raise ValueError(f"cv: a fold has rows of the type {rows.dtype}; they are to be whole numbers or truth values")
    if not 0 <= rows.min() <= rows.max() < n_samples:
        raise ValueError(f"cv: a fold has the rows {rows.min()} to {rows.max()}, but there are {n_samples} samples")
    return rows.astype(np.uint32)


class SoftmaxClassifierCV(_CrossValidated, SoftmaxClassifier):
    """Softmax (multinomial logistic) regression that chooses λ by cross-validation.

    For each fold a model is fitted for one λ after the other, from the largest on, each from the one before. The λ with
    the least mean loss of the samples that the folds hold out, without the L2 term, is chosen; of equals, the largest.
    Then all samples are fitted. On two cores, ten λ on five folds of Fashion-MNIST (60000 × 784) take some tens of seconds.

    Parameters
    ----------
    Cs : int or array-like, default=10
        The values of C to try, or how many from 1e-4 to 1e4, as those of
        `sklearn.linear_model.LogisticRegressionCV`. λ is 1/(2 C Z) for three classes or more and 1/(C Z) for two, where
        Z is the sum of the weights of all samples: a fold, which has fewer, is fitted with the same λ.
    l2s : array-like, optional
        The values of λ to try, in place of Cs.
    cv : int, splitter or iterable, default=None
        How samples are divided, as in scikit-learn: by default into 5 stratified folds. Groups are not passed on:
        `cv=list(splitter.split(X, y, groups))` does so. Rows may be held out more than once, or never.
    label_smoothing, class_weight, tol, ftol, max_iter, verbose
        As those of `SoftmaxClassifier`. The fits of the folds are content with a `tol` of 1e-4 and an `ftol` of 1e-7.

    Attributes
    ----------
    l2_, C_ : the choice.
    l2_one_standard_error_ : the largest λ whose mean loss is within one standard error of the least.
    l2s_, Cs_ : what was tried, from the largest λ to the smallest.
    scores_, losses_ : the accuracy and the mean loss of the samples that each fold held out, by their weights, of shape
        (n_folds, n_l2s).
    mean_losses_, standard_errors_ : the mean loss over the folds, each by the weight of what it held out, and the
        standard error of the mean, of shape (n_l2s,).
    classes_, coef_, intercept_, n_iter_, objective_, gap_, stop_reason_, n_features_in_, feature_names_in_ : of the fit of
        all samples, as those of `SoftmaxClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmargin import SoftmaxClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SoftmaxClassifierCV(l2s=[1e-2, 1e-3, 1e-4, 1e-5, 1e-6]).fit(X, y)
    >>> model.l2_, model.scores_.shape
    (0.0001, (5, 5))
    """

    def __init__(
        self,
        Cs=10,
        *,
        l2s=None,
        cv=None,
        label_smoothing=0.0,
        class_weight=None,
        tol=1e-5,
        ftol=1e-9,
        max_iter=1000,
        verbose=False,
    ):
        self.Cs = Cs
        self.l2s = l2s
        self.cv = cv
        self.label_smoothing = label_smoothing
        self.class_weight = class_weight
        self.tol = tol
        self.ftol = ftol
        self.max_iter = max_iter
        self.verbose = verbose


class HingeClassifierCV(_CrossValidated, HingeClassifier):
    """Multiclass support vector machine that chooses λ by cross-validation.

    Parameters
    ----------
    Cs, l2s, cv
        As those of `SoftmaxClassifierCV`. What is least in the mean is the loss itself.
    loss, margin, class_weight, tol, ftol, max_iter, verbose
        As those of `HingeClassifier`. The fits of the folds are content with a `tol` of 1e-3 where the loss has kinks, and
        else with 1e-4 and an `ftol` of 1e-7.

    Attributes are those of `SoftmaxClassifierCV`.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from softmargin import HingeClassifierCV
    >>> X, y = load_iris(return_X_y=True)
    >>> HingeClassifierCV(l2s=[1.0, 0.01], cv=3).fit(X, y).l2_
    0.01
    """

    def __init__(
        self,
        Cs=10,
        *,
        l2s=None,
        cv=None,
        loss="hinge",
        margin=1.0,
        class_weight=None,
        tol=1e-4,
        ftol=1e-9,
        max_iter=1000,
        verbose=False,
    ):
        self.Cs = Cs
        self.l2s = l2s
        self.cv = cv
        self.loss = loss
        self.margin = margin
        self.class_weight = class_weight
        self.tol = tol
        self.ftol = ftol
        self.max_iter = max_iter
        self.verbose = verbose
