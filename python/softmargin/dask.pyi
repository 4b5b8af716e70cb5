from typing import Any, Literal, Optional

from softmargin import _estimators
from softmargin._estimators import _ClassWeight

__all__ = ["HingeClassifier", "SoftmaxClassifier"]

class _DaskClassifier:
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Any: ...
    @property
    def partial_fit(self) -> Any: ...
    def decision_function(self, X: Any) -> Any: ...
    def predict(self, X: Any) -> Any: ...
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float: ...

class SoftmaxClassifier(_DaskClassifier, _estimators.SoftmaxClassifier):  # type: ignore[misc]
    def set_partial_fit_request(self) -> Any: ...  # type: ignore[override]
    def predict_proba(self, X: Any) -> Any: ...
    def predict_log_proba(self, X: Any) -> Any: ...

class HingeClassifier(_DaskClassifier, _estimators.HingeClassifier):  # type: ignore[misc]
    def set_partial_fit_request(self) -> Any: ...  # type: ignore[override]
    def __init__(
        self,
        C: float = 1.0,
        *,
        l2: Optional[float] = None,
        loss: Literal["hinge", "squared_hinge", "crammer_singer"] = "squared_hinge",
        margin: float = 1.0,
        class_weight: _ClassWeight = None,
        tol: float = 1e-4,
        ftol: float = 1e-9,
        max_iter: int = 1000,
        warm_start: bool = False,
        verbose: bool = False,
    ) -> None: ...
