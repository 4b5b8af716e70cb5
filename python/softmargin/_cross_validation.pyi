from typing import Any, Literal, Optional

from numpy.typing import ArrayLike, NDArray

from softmargin._estimators import HingeClassifier, SoftmaxClassifier, _ClassWeight

class _CrossValidated:
    l2_one_standard_error_: float
    C_: float
    l2s_: NDArray[Any]
    Cs_: NDArray[Any]
    scores_: NDArray[Any]
    losses_: NDArray[Any]
    mean_losses_: NDArray[Any]
    standard_errors_: NDArray[Any]
    warm_start: bool
    @property
    def partial_fit(self) -> Any: ...

class SoftmaxClassifierCV(_CrossValidated, SoftmaxClassifier):  # type: ignore[misc]
    Cs: ArrayLike
    l2s: Optional[ArrayLike]
    cv: Any
    def __init__(
        self,
        Cs: ArrayLike = 10,
        *,
        l2s: Optional[ArrayLike] = None,
        cv: Any = None,
        label_smoothing: float = 0.0,
        class_weight: _ClassWeight = None,
        tol: float = 1e-5,
        ftol: float = 1e-9,
        max_iter: int = 1000,
        verbose: bool = False,
    ) -> None: ...

class HingeClassifierCV(_CrossValidated, HingeClassifier):  # type: ignore[misc]
    Cs: ArrayLike
    l2s: Optional[ArrayLike]
    cv: Any
    def __init__(
        self,
        Cs: ArrayLike = 10,
        *,
        l2s: Optional[ArrayLike] = None,
        cv: Any = None,
        loss: Literal["hinge", "squared_hinge", "crammer_singer"] = "hinge",
        margin: float = 1.0,
        class_weight: _ClassWeight = None,
        tol: float = 1e-4,
        ftol: float = 1e-9,
        max_iter: int = 1000,
        verbose: bool = False,
    ) -> None: ...
