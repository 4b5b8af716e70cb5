from os import PathLike
from typing import Any, Callable, Iterable, List, Literal, Optional, Tuple, Type, Union, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_Loss = Literal["cross_entropy", "hinge", "squared_hinge", "crammer_singer"]
_Slopes = Tuple[float, NDArray[Any], NDArray[Any]]

__all__ = [
    "NonFiniteError",
    "Evaluator",
    "hessian_product",
    "loss_and_gradient",
    "load",
    "save",
    "Fit",
    "fit",
    "CrossValidation",
    "cross_validate",
    "step",
    "lbfgs",
    "Partial",
    "predict",
    "predict_proba",
    "scores",
    "_forked",
    "_refuse_masked",
    "PartialTree",
    "__version__",
]

__version__: str

class NonFiniteError(ValueError): ...

@final
class Evaluator:
    def __new__(
        cls,
        *,
        loss: _Loss = "cross_entropy",
        l2: float = 0.0,
        margin: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> Evaluator: ...
    def loss_and_gradient(
        self,
        X: ArrayLike,
        y: ArrayLike,
        W: ArrayLike,
        b: ArrayLike,
        *,
        sample_weight: Optional[ArrayLike] = None,
        out: Optional[Tuple[NDArray[Any], NDArray[Any]]] = None,
    ) -> _Slopes: ...
    def loss(
        self,
        X: ArrayLike,
        y: ArrayLike,
        W: ArrayLike,
        b: ArrayLike,
        *,
        sample_weight: Optional[ArrayLike] = None,
    ) -> float: ...
    def hessian_product(
        self,
        X: ArrayLike,
        y: ArrayLike,
        W: ArrayLike,
        b: ArrayLike,
        dW: ArrayLike,
        db: ArrayLike,
        *,
        sample_weight: Optional[ArrayLike] = None,
        out: Optional[Tuple[NDArray[Any], NDArray[Any]]] = None,
    ) -> Tuple[NDArray[Any], NDArray[Any]]: ...
    def accumulate(
        self,
        X: ArrayLike,
        y: ArrayLike,
        W: ArrayLike,
        b: ArrayLike,
        partial: Partial,
        *,
        sample_weight: Optional[ArrayLike] = None,
        direction: Optional[Tuple[ArrayLike, ArrayLike]] = None,
    ) -> None: ...
    def finish(self, W: ArrayLike, b: ArrayLike, partial: Partial) -> _Slopes: ...

@final
class Partial:
    def __new__(cls, n_classes: int, n_features: int, sums: Optional[ArrayLike] = None) -> Partial: ...
    @property
    def n_classes(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def sums(self) -> NDArray[np.float64]: ...
    @property
    def total_weight(self) -> float: ...
    def __add__(self, value: Partial, /) -> Partial: ...
    def __radd__(self, value: Partial, /) -> Partial: ...
    def __iadd__(self, value: Partial, /) -> Partial: ...
    def __reduce__(self) -> Tuple[Type[Partial], Tuple[int, int, NDArray[np.float64]]]: ...
    def __sizeof__(self) -> int: ...

@final
class PartialTree:
    def __new__(cls, nodes: Optional[Iterable[Tuple[Union[int, range], Partial]]] = None) -> PartialTree: ...
    def push(self, chunks: Union[int, range], partial: Partial) -> None: ...
    def nodes(self) -> List[Tuple[range, Partial]]: ...
    def total(self, n_chunks: int) -> Partial: ...
    def __add__(self, value: PartialTree, /) -> PartialTree: ...
    def __radd__(self, value: PartialTree, /) -> PartialTree: ...
    def __iadd__(self, value: PartialTree, /) -> PartialTree: ...
    def __reduce__(self) -> Tuple[Type[PartialTree], Tuple[List[Tuple[range, Partial]]]]: ...
    def __sizeof__(self) -> int: ...

def loss_and_gradient(
    X: ArrayLike,
    y: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    *,
    loss: _Loss = "cross_entropy",
    l2: float = 0.0,
    margin: float = 1.0,
    label_smoothing: float = 0.0,
    sample_weight: Optional[ArrayLike] = None,
    out: Optional[Tuple[NDArray[Any], NDArray[Any]]] = None,
) -> _Slopes: ...
def hessian_product(
    X: ArrayLike,
    y: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    dW: ArrayLike,
    db: ArrayLike,
    *,
    loss: _Loss = "cross_entropy",
    l2: float = 0.0,
    margin: float = 1.0,
    label_smoothing: float = 0.0,
    sample_weight: Optional[ArrayLike] = None,
    out: Optional[Tuple[NDArray[Any], NDArray[Any]]] = None,
) -> Tuple[NDArray[Any], NDArray[Any]]: ...
def lbfgs(
    fun: Callable[..., Partial],
    W: ArrayLike,
    b: ArrayLike,
    *,
    loss: _Loss = "cross_entropy",
    l2: float = 0.0,
    margin: float = 1.0,
    label_smoothing: float = 0.0,
    sample: Optional[Union[Tuple[Any, ArrayLike], Tuple[Any, ArrayLike, Optional[ArrayLike]]]] = None,
    gap: bool = False,
    max_iter: int = 1000,
    tol: float = 1e-5,
    ftol: float = 1e-9,
    callback: Optional[Callable[[int, float, float], object]] = None,
) -> Fit: ...

@final
class Fit:
    weights: NDArray[Any]
    bias: NDArray[Any]
    objective: float
    gradient_norm: float
    gap: float
    iterations: int
    evaluations: int
    stop_reason: str
    converged: bool
    failed: bool
    interrupt: Optional[BaseException]

# The rest is what the estimators are made of.

def fit(
    X: ArrayLike,
    y: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    *,
    loss: _Loss,
    l2: float,
    margin: float,
    label_smoothing: float,
    sample_weight: Optional[ArrayLike],
    max_iter: int,
    tol: float,
    ftol: float,
    on_iteration: Optional[Callable[[int, float, float], object]] = None,
) -> Fit: ...
@final
class CrossValidation:
    l2s: NDArray[np.float64]
    losses: NDArray[np.float64]
    accuracies: NDArray[np.float64]
    mean_losses: NDArray[np.float64]
    standard_errors: NDArray[np.float64]
    best: float
    one_standard_error: float
    not_converged: Tuple[int, int]

def cross_validate(
    X: ArrayLike,
    y: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    *,
    loss: _Loss,
    l2s: List[float],
    margin: float,
    label_smoothing: float,
    sample_weight: Optional[ArrayLike],
    folds: List[Tuple[NDArray[np.uint32], NDArray[np.uint32]]],
    max_iter: int,
    tol: float,
    ftol: float,
) -> CrossValidation: ...
def step(
    X: ArrayLike,
    y: ArrayLike,
    W: ArrayLike,
    b: ArrayLike,
    *,
    loss: _Loss,
    l2: float,
    margin: float,
    label_smoothing: float,
    sample_weight: Optional[ArrayLike],
    batch_size: int,
    steps: int,
) -> Fit: ...
def scores(X: ArrayLike, W: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
def predict(X: ArrayLike, W: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
def predict_proba(X: ArrayLike, W: ArrayLike, b: ArrayLike) -> NDArray[Any]: ...
def save(path: "PathLike[str] | str", W: ArrayLike, b: ArrayLike, metadata: dict[str, str]) -> None: ...
def load(bytes: bytes) -> Tuple[NDArray[Any], NDArray[Any], dict[str, str]]: ...
def _forked() -> None: ...
def _refuse_masked(value: Any, name: str) -> None: ...
