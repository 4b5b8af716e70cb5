"""Classifiers on Dask: data in blocks on the workers of a cluster, which do not leave the cluster.

For every evaluation each block gets one task, which sums up the losses and gradients of its rows (or Hessian products, for
the bound on the distance to the optimum); the sums are joined in the fixed order of a `PartialTree` over the numbers of the blocks. L-BFGS runs in the client, which sees nothing but the
total. So the model has the same bits on any number of workers, also if some of them are lost on the way: Dask computes
their blocks again.
"""

import functools
import warnings

import dask
import dask.array as da
import numpy as np
from dask.core import flatten
from distributed import default_client, futures_of
from scipy.sparse import issparse, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from softmargin import Evaluator, NonFiniteError, Partial, PartialTree, _estimators, lbfgs
from softmargin._estimators import (
    _as_it_was,
    _as_wide,
    _checks,
    _codes,
    _computed,
    _print_iteration,
    _refuse_masked,
    _warning,
    _whole,
)

__all__ = ["HingeClassifier", "SoftmaxClassifier"]

# Sums that one task joins.
_JOINED = 16


class _DaskClassifier:
    """What an estimator does otherwise if it is given collections of Dask; to be named before it among the bases."""

    def fit(self, X, y, sample_weight=None):
        """Trains the model on the cluster of the current client.

        Parameters
        ----------
        X : Dask array of shape (n_samples, n_features), or Dask DataFrame
            In blocks of rows: arrays, or SciPy's sparse matrices. They are kept in the memory of the workers until the fit
            ends. float64, float32, float16, uint8 and int8 are read as they are; anything else is converted to float64, and
            DataFrames to arrays.
        y : Dask array or Series of shape (n_samples,), in the same blocks
            Labels of any type.
        sample_weight : Dask array or Series of shape (n_samples,), in the same blocks, optional
            How much each sample counts.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For blocks that do not fit each other, for data that is not finite, with block, row and value, and for
            parameters out of range.
        RuntimeError
            If the objective is not finite however short the steps.

        Ctrl-C ends the fit; the best model so far is in the estimator then.
        """
        with _as_it_was(self):
            fitted, interrupts = self._fit(X, y, sample_weight)
        if interrupts:
            raise interrupts[0]
        if not fitted.converged:
            warnings.warn(_warning(fitted), ConvergenceWarning, stacklevel=2)
        return self

    def _fit(self, X, y, sample_weight):
        objective, max_iter = self._objective(), _whole("max_iter", self.max_iter)
        validate_data(self, _example(X), skip_check_array=True)
        blocks = _Blocks(X, y, sample_weight)
        classes, sums = blocks.labels()
        if len(classes) < 2:
            raise ValueError(f"There must be at least 2 classes, but y has {len(classes)}: {classes.tolist()}")
        of_class = self._of_class(classes, classes, sums)
        total = float(sums @ of_class)
        if total == 0:
            raise ValueError(f"the weights of all {blocks.n_samples} samples sum to 0")
        weighted = sample_weight is not None or self.class_weight is not None
        blocks.set_targets(classes, of_class if weighted else None)
        l2 = self._l2(len(classes), total)
        interrupts = []

        def fun(W, b, direction, **objective):
            try:
                return blocks.sums(W, b, objective, direction)
            except KeyboardInterrupt as interrupt:
                interrupts.append(interrupt)
                raise StopIteration from None

        try:
            fitted = lbfgs(
                fun,
                *self._start(classes, blocks.n_features, blocks.dtype),
                l2=l2,
                sample=blocks.sample(_sample_size(blocks.n_features)),
                gap=True,
                max_iter=max_iter,
                tol=self.tol,
                ftol=self.ftol,
                callback=_print_iteration if self.verbose else None,
                **objective,
            )
        except StopIteration:
            # There is no model yet.
            raise interrupts[0] from None
        self._keep(fitted, classes, l2, total, 0)
        return fitted, interrupts

    @property
    def partial_fit(self):
        raise AttributeError("on Dask there is no partial_fit: fit reads all blocks, however many there are")

    def decision_function(self, X):
        """The scores, a Dask array: of shape (n_samples,) for two classes, those of `classes_[1]`, else (n_samples, n_classes)."""
        check_is_fitted(self)
        n = len(self.classes_)
        return self._of_blocks("decision_function", X, self.coef_.dtype, None if n == 2 else n)

    def predict(self, X):
        """The class with the largest score, a Dask array; the first one of equals."""
        check_is_fitted(self)
        return self._of_blocks("predict", X, self.classes_.dtype)

    def score(self, X, y, sample_weight=None):
        """The accuracy, a number: the share of the samples, by weight, whose class is predicted."""
        if not dask.is_dask_collection(X):
            return super().score(X, y, sample_weight)
        predicted = self.predict(X)
        arrays = [predicted, *_beside(predicted, y, sample_weight)]
        blocks = zip(*(array.to_delayed(optimize_graph=False) for array in arrays if array is not None))
        hits, total = np.sum(dask.compute(*(dask.delayed(_hits)(*block) for block in blocks)), axis=0)
        return float(hits / total)

    def _of_blocks(self, method, X, dtype, n_columns=None):
        """A Dask array of what a method of the estimator returns for each block; its result, if X is in memory."""
        if not dask.is_dask_collection(X):
            return getattr(super(), method)(X)
        check_is_fitted(self)
        validate_data(self, _example(X), skip_check_array=True, reset=False)
        X = _features_array(X)
        model = self._in_memory(**self.get_params())
        # Blocks have no names of columns: those were compared.
        own = {name: value for name, value in vars(self).items() if name.endswith("_") and name != "feature_names_in_"}
        vars(model).update(own)
        columns = () if n_columns is None else ((n_columns,),)
        return X.map_blocks(
            _of_block,
            method=method,
            model=model,
            dtype=dtype,
            chunks=(X.chunks[0], *columns),
            drop_axis=None if columns else 1,
            meta=np.empty((0,) * (1 + len(columns)), dtype),
        )


class SoftmaxClassifier(_DaskClassifier, _estimators.SoftmaxClassifier):
    """`softmargin.SoftmaxClassifier` on Dask: `fit`, `predict`, `predict_proba`, `decision_function` and `score` take
    collections of Dask, the latter also what is in memory.

    Parameters and attributes are the same.

    Examples
    --------
    >>> import dask.array as da
    >>> from distributed import Client
    >>> from softmargin.dask import SoftmaxClassifier
    >>> client = Client(n_workers=2, threads_per_worker=1)  # doctest: +SKIP
    >>> X = da.random.default_rng(0).normal(size=(10_000, 5), chunks=(1_000, 5)).persist()
    >>> y = da.where(X[:, 0] > X[:, 1], "left", "right")
    >>> model = SoftmaxClassifier(l2=1e-4).fit(X, y)
    >>> model.score(X, y) > 0.99
    True
    """

    _in_memory = _estimators.SoftmaxClassifier

    def predict_proba(self, X):
        """The probabilities, softmax of the scores, a Dask array of shape (n_samples, n_classes)."""
        check_is_fitted(self)
        return self._of_blocks("predict_proba", X, self.coef_.dtype, len(self.classes_))

    def predict_log_proba(self, X):
        """The logarithms of the probabilities, a Dask array of shape (n_samples, n_classes)."""
        check_is_fitted(self)
        return self._of_blocks("predict_log_proba", X, self.coef_.dtype, len(self.classes_))


class HingeClassifier(_DaskClassifier, _estimators.HingeClassifier):
    """`softmargin.HingeClassifier` on Dask, with the squared hinge: `fit`, `predict`, `decision_function` and `score` take
    collections of Dask, the latter also what is in memory.

    Parameters and attributes are the same, but that `loss` is "squared_hinge" unless it is given, and that `fit` refuses
    the losses with kinks, "hinge" and "crammer_singer": L-BFGS would end at a kink, far from the optimum perhaps, and dual
    ascent, which goes past them, takes all data in one memory.
    """

    _in_memory = _estimators.HingeClassifier

    def __init__(
        self,
        C=1.0,
        *,
        l2=None,
        loss="squared_hinge",
        margin=1.0,
        class_weight=None,
        tol=1e-4,
        ftol=1e-9,
        max_iter=1000,
        warm_start=False,
        verbose=False,
    ):
        super().__init__(
            C,
            l2=l2,
            loss=loss,
            margin=margin,
            class_weight=class_weight,
            tol=tol,
            ftol=ftol,
            max_iter=max_iter,
            warm_start=warm_start,
            verbose=verbose,
        )

    def _objective(self):
        objective = super()._objective()
        if self.loss != "squared_hinge":
            raise ValueError(
                f"loss={self.loss!r} has kinks, at which the solver for data in blocks would end: "
                'take loss="squared_hinge", or fit softmargin.HingeClassifier to what fits the memory of one machine'
            )
        return objective


class _Blocks:
    """The blocks of X, of y and of the weights, as futures, which keep them on the workers and have them computed again if
    a worker is lost."""

    def __init__(self, X, y, weights):
        try:
            self.client = default_client()
        except ValueError:
            raise ValueError("there is no client of Dask: make one first (client = distributed.Client())") from None
        X = _features_array(X)
        self.n_features = X.shape[1]
        # Together, so that what they have in common is computed once.
        persisted = self.client.persist([array for array in (X, *_beside(X, y, weights)) if array is not None])
        self.x, self.y, *weights = map(_futures, persisted)
        self.weights = weights[0] if weights else [None] * len(self.x)
        self.names = [f"block {i}" for i in range(len(self.x))]

    def labels(self):
        """The classes, and the sum of the weights of each: one pass over y, and over X for what its blocks are like."""
        found = self.client.gather(self._map(_describe, self.x, self.y, self.weights))
        _raise_first(found)
        self.rows = [rows for rows, _, _, _ in found]
        self.n_samples = sum(self.rows)
        self.starts = np.cumsum([0, *self.rows])[:-1].tolist()
        # From here on it is known where they begin.
        self.names = [f"{name}, which begins at row {start}" for name, start in zip(self.names, self.starts)]
        self.dtype = np.result_type(*(dtype for _, dtype, _, _ in found))
        found = [(labels, sums) for rows, _, labels, sums in found if rows]
        if not found:
            raise ValueError("X has no rows")
        if len({labels.dtype.kind in "OSU" for labels, _ in found}) > 1:
            raise ValueError(f"y has labels of several types: {sorted({str(labels.dtype) for labels, _ in found})}")
        all_labels = np.concatenate([labels for labels, _ in found])
        classes, codes = _unique(all_labels)
        # Each label often enough for scikit-learn to take it for a class.
        check_classification_targets(np.repeat(classes, 3))
        return classes, np.bincount(codes, np.concatenate([sums for _, sums in found]))

    def set_targets(self, classes, of_class):
        """Makes what is predicted of each block: the numbers of the classes, and the weights, if `of_class` is given."""
        of_class = None if of_class is None else of_class.astype(np.float64)
        common = {"classes": classes, "of_class": of_class, "dtype": self.dtype}
        self.targets = self._map(_target, self.x, self.y, self.weights, **common)
        del self.y, self.weights

    def sums(self, W, b, objective, direction):
        """The sums over all blocks, a Partial: of losses and gradients, or of Hessian products with a direction."""
        # A task and not scattered, so that it can be computed again; the workers have it from each other.
        model = self.client.submit(_model, W, b, direction, pure=False)
        blocks = range(len(self.x))
        trees = self._map(_sums, self.x, self.targets, blocks, model=model, objective=objective)
        while len(trees) > 1:
            trees = self.client.map(
                _join, [trees[i : i + _JOINED] for i in range(0, len(trees), _JOINED)], pure=False
            )
        tree = trees[0].result()
        _raise_first([tree])
        return tree.total(len(self.x))

    def sample(self, size):
        """Rows from all over the data, no more than `size`; or None, of weight zero."""
        if not size:
            return None
        places = np.unique(np.linspace(0, self.n_samples - 1, min(size, self.n_samples)).astype(np.int64))
        ends = np.cumsum(self.rows)
        of_blocks = np.split(places, np.searchsorted(places, ends[:-1]))
        rows = [of_block - start for of_block, start in zip(of_blocks, self.starts)]
        parts = self.client.gather(self._map(_rows, self.x, self.targets, rows, dtype=self.dtype))
        _raise_first(parts)
        x, codes, weights = zip(*(part for part, chosen in zip(parts, rows) if len(chosen)))
        codes, weights = np.concatenate(codes), None if weights[0] is None else np.concatenate(weights)
        if weights is not None and not weights.any():
            return None
        return vstack(x).tocsr() if any(map(issparse, x)) else np.concatenate(x), codes, weights

    def _map(self, function, *iterables, **common):
        return self.client.map(function, self.names, *iterables, pure=False, **common)


def _of_worker(function):
    """Has a function return a ValueError as what it computes, after the name of the block, instead of raising it: of two
    blocks that are wrong it is the first one that is told."""

    @functools.wraps(function)
    def of_worker(name, *arguments, **common):
        try:
            return function(*arguments, **common)
        except ValueError as error:
            kind = NonFiniteError if isinstance(error, NonFiniteError) else ValueError
            return kind(f"{name}: {error}")

    return of_worker


def _raise_first(results):
    for result in results:
        if isinstance(result, Exception):
            raise result


@_of_worker
def _describe(x, y, weights):
    """The rows of a block, the type it is computed in, and its labels with the sum of the weights of each."""
    _refuse_masked(X=x, y=y, sample_weight=weights)
    x, y = _features(x), np.asarray(y)
    if len(y) != x.shape[0]:
        raise ValueError(f"X has {x.shape[0]} rows, but y has {len(y)}")
    labels, codes = _unique(y)
    sums = np.bincount(codes, _checked_weights(len(y), weights), minlength=len(labels))
    return len(y), _computed(x), labels, sums


@_of_worker
def _target(x, y, weights, classes, of_class, dtype):
    """The numbers of the classes, and the weights, if there are any. X has it computed where X is."""
    codes = _codes(np.asarray(y), classes).astype(np.uint32) if len(y) else np.zeros(0, np.uint32)
    if of_class is None:
        return codes, None
    return codes, (_checked_weights(len(y), weights) * of_class[codes]).astype(dtype)


def _model(W, b, direction):
    return W, b, direction


@_of_worker
def _sums(x, target, block, model, objective):
    """The sums over a block."""
    (codes, weights), (W, b, direction) = target, model
    tree, partial = PartialTree(), Partial(*W.shape)
    if len(codes) and (weights is None or weights.any()):
        x = _as_wide(_features(x), W.dtype)
        Evaluator(**objective).accumulate(x, codes, W, b, partial, sample_weight=weights, direction=direction)
    tree.push(block, partial)
    return tree


def _join(trees):
    """The sums over neighbouring blocks, or what is wrong in the first of them."""
    joined = PartialTree()
    for tree in trees:
        if isinstance(tree, Exception):
            return tree
        joined += tree
    return joined


@_of_worker
def _rows(x, target, rows, dtype):
    """Some rows of a block, in the type that is computed in."""
    codes, weights = target
    return _features(x)[rows].astype(dtype), codes[rows], None if weights is None else weights[rows]


def _hits(predicted, y, weights=None):
    """The weight of the rows whose class is predicted, and that of all."""
    _refuse_masked(y=y, sample_weight=weights)
    y = np.asarray(y)
    if len(predicted) != len(y):
        raise ValueError(f"a block of X has {len(predicted)} rows, but that of y has {len(y)}")
    weights = _checked_weights(len(y), weights)
    return weights[predicted == y].sum(), weights.sum()


def _of_block(x, method, model, block_id=None):
    """What a method of the model returns for a block."""
    try:
        if not x.shape[0]:
            # No method takes no rows.
            return getattr(model, method)(np.zeros((1, model.n_features_in_)))[:0]
        return getattr(model, method)(x)
    except ValueError as error:
        raise ValueError(f"block {block_id[0]}: {error}") from None


def _features(x):
    """A block of X as the kernels read it: itself, if it can be."""
    return check_array(x, **_checks(x), ensure_min_samples=0)


def _unique(labels):
    """The labels, sorted, and the place of each."""
    if labels.ndim != 1:
        raise ValueError(f"y has {labels.ndim} dimensions, not 1")
    try:
        return np.unique(labels, return_inverse=True)
    except TypeError:
        types = sorted({type(label).__name__ for label in labels})
        raise ValueError(f"y has labels of the types {', '.join(types)}, which have no order") from None


def _checked_weights(n_rows, weights):
    """The weights of the rows of a block: 1, if there are none."""
    if weights is None:
        return np.ones(n_rows)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (n_rows,):
        raise ValueError(f"X has {n_rows} rows, but sample_weight has {len(weights)}")
    wrong = ~((weights >= 0) & np.isfinite(weights))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(f"row {row} has the weight {weights[row]}; weights are finite and not negative")
    return weights


def _sample_size(n_features):
    """As many rows as L-BFGS looks at to learn the curvature, but no more than the client should hold; none, if a factor
    of the curvature would be too large."""
    size = n_features + 1
    return 0 if size**2 / 2 > 64 << 20 else min(max(10 * size, 4000), 20_000)


def _array(name, value):
    if hasattr(value, "to_dask_array"):
        with warnings.catch_warnings():
            # Strings become objects, which is what is wanted here.
            warnings.filterwarnings("ignore", ".*extension dtypes", UserWarning)
            value = value.to_dask_array()
    if not isinstance(value, da.Array):
        raise TypeError(
            f"{name} is of type {type(value).__name__}; it is to be a collection of Dask "
            "(dask.array.from_array makes one of an array, in blocks of rows)"
        )
    return value


def _features_array(X):
    X = _array("X", X)
    if X.ndim != 2:
        raise ValueError(f"X has {X.ndim} dimensions, not 2")
    if X.numblocks[1] != 1:
        raise ValueError(
            f"X has {X.numblocks[1]} chunks along its features, but a block is to have them all: "
            'X.rechunk({0: "auto", 1: -1})'
        )
    return X if X.dtype in _estimators._DTYPES else X.astype(np.float64)


def _beside(X, y, weights):
    """y and the weights as arrays, which are in the blocks of X as far as that is known."""
    rows_of_x = X.chunks[0]
    arrays = {"y": _array("y", y), "sample_weight": None if weights is None else _array("sample_weight", weights)}
    for name, array in arrays.items():
        if array is None:
            continue
        if array.ndim != 1:
            raise ValueError(f"{name} has {array.ndim} dimensions, not 1")
        advice = f"{name}.rechunk(X.chunks[0]) mends it, after compute_chunk_sizes() where sizes are unknown"
        if len(array.chunks[0]) != len(rows_of_x):
            raise ValueError(f"X has {len(rows_of_x)} blocks of rows, but {name} has {len(array.chunks[0])}: {advice}")
        for block, (rows, expected) in enumerate(zip(array.chunks[0], rows_of_x)):
            # Sizes that are unknown, NaN, are compared by the worker that has the block.
            if rows != expected and not np.isnan(rows + expected):
                raise ValueError(f"block {block} of X has {expected} rows, but that of {name} has {rows}: {advice}")
    return tuple(arrays.values())


def _futures(array):
    """Those of the blocks of a persisted array, in their order."""
    futures = {future.key: future for future in futures_of(array)}
    return [futures[key] for key in flatten(array.__dask_keys__())]


def _example(X):
    """Something without rows that has the columns of X, and their names."""
    return getattr(X, "_meta", X) if hasattr(X, "to_dask_array") else np.empty((0, _features_array(X).shape[1]))
