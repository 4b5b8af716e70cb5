from softmargin._core import (
    Evaluator as Evaluator,
    NonFiniteError as NonFiniteError,
    Partial as Partial,
    PartialTree as PartialTree,
    __version__ as __version__,
    hessian_product as hessian_product,
    lbfgs as lbfgs,
    loss_and_gradient as loss_and_gradient,
)
from softmargin._cross_validation import (
    HingeClassifierCV as HingeClassifierCV,
    SoftmaxClassifierCV as SoftmaxClassifierCV,
)
from softmargin._estimators import (
    HingeClassifier as HingeClassifier,
    SoftmaxClassifier as SoftmaxClassifier,
    load as load,
)

__all__ = [
    "Evaluator",
    "HingeClassifier",
    "HingeClassifierCV",
    "NonFiniteError",
    "Partial",
    "PartialTree",
    "SoftmaxClassifier",
    "SoftmaxClassifierCV",
    "__version__",
    "hessian_product",
    "lbfgs",
    "load",
    "loss_and_gradient",
]
