from os import PathLike
from typing import Any, Dict, Literal, Optional, Union

from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin  # type: ignore[import-untyped]
from typing_extensions import Self

_ClassWeight = Union[Dict[Any, float], Literal["balanced"], None]
# Whether a router of metadata is to pass something on.
_Request = Union[bool, None, str]

class _LinearClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    classes_: NDArray[Any]
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    n_iter_: int
    l2_: float
    objective_: float
    gap_: float
    stop_reason_: str
    total_weight_: float
    t_: int
    n_features_in_: int
    feature_names_in_: NDArray[Any]

    def fit(self, X: Any, y: ArrayLike, sample_weight: Optional[ArrayLike] = None) -> Self: ...
    def partial_fit(
        self,
        X: Any,
        y: ArrayLike,
        classes: Optional[ArrayLike] = None,
        sample_weight: Optional[ArrayLike] = None,
    ) -> Self: ...
    def decision_function(self, X: Any) -> NDArray[Any]: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def score(self, X: Any, y: ArrayLike, sample_weight: Optional[ArrayLike] = None) -> float: ...
    def set_fit_request(self, *, sample_weight: _Request = ...) -> Self: ...
    def set_partial_fit_request(self, *, classes: _Request = ..., sample_weight: _Request = ...) -> Self: ...
    def set_score_request(self, *, sample_weight: _Request = ...) -> Self: ...
    def __sklearn_tags__(self) -> Any: ...
    def save(self, path: Union[str, PathLike[str]]) -> None: ...

class SoftmaxClassifier(_LinearClassifier):
    C: float
    l2: Optional[float]
    label_smoothing: float
    class_weight: _ClassWeight
    tol: float
    ftol: float
    max_iter: int
    warm_start: bool
    verbose: bool

    def __init__(
        self,
        C: float = 1.0,
        *,
        l2: Optional[float] = None,
        label_smoothing: float = 0.0,
        class_weight: _ClassWeight = None,
        tol: float = 1e-5,
        ftol: float = 1e-9,
        max_iter: int = 1000,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None: ...
    def predict_proba(self, X: Any) -> NDArray[Any]: ...
    def predict_log_proba(self, X: Any) -> NDArray[Any]: ...

class HingeClassifier(_LinearClassifier):
    C: float
    l2: Optional[float]
    loss: Literal["hinge", "squared_hinge", "crammer_singer"]
    margin: float
    class_weight: _ClassWeight
    tol: float
    ftol: float
    max_iter: int
    warm_start: bool
    verbose: bool

    def __init__(
        self,
        C: float = 1.0,
        *,
        l2: Optional[float] = None,
        loss: Literal["hinge", "squared_hinge", "crammer_singer"] = "hinge",
        margin: float = 1.0,
        class_weight: _ClassWeight = None,
        tol: float = 1e-4,
        ftol: float = 1e-9,
        max_iter: int = 1000,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None: ...

def load(path: Union[str, PathLike[str]]) -> Union[SoftmaxClassifier, HingeClassifier]: ...
