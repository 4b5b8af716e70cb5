from softmargin._core import (
    Evaluator as Evaluator,
    __version__ as __version__,
    loss_and_gradient as loss_and_gradient,
)
from softmargin._estimators import (
    HingeClassifier as HingeClassifier,
    SoftmaxClassifier as SoftmaxClassifier,
    load as load,
)

__all__ = [
    "Evaluator",
    "HingeClassifier",
    "SoftmaxClassifier",
    "__version__",
    "load",
    "loss_and_gradient",
]
