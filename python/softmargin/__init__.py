"""Linear classifiers at the speed of the CPU: softmax regression and multiclass support vector machines.

`SoftmaxClassifier` and `HingeClassifier` are estimators in scikit-learn's conventions, `SoftmaxClassifierCV` and
`HingeClassifierCV` choose λ by cross-validation, and `load` reads those that were saved. `loss_and_gradient`,
`hessian_product` and `Evaluator` are for those who bring their own optimiser. `Partial` and `PartialTree` add up data
that comes in chunks or lies on many machines, and `lbfgs` fits a model to it; `softmargin.dask` does both on a cluster.
"""

import os

from softmargin import _core
from softmargin._core import (
    Evaluator,
    NonFiniteError,
    Partial,
    PartialTree,
    __version__,
    hessian_product,
    lbfgs,
    loss_and_gradient,
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

# A child that was forked has none of the threads of its parent.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core._forked)


# scikit-learn takes a second to import, and only the estimators need it.
def __getattr__(name):
    if name in ("HingeClassifier", "SoftmaxClassifier", "load"):
        from softmargin import _estimators

        return getattr(_estimators, name)
    if name in ("HingeClassifierCV", "SoftmaxClassifierCV"):
        from softmargin import _cross_validation

        return getattr(_cross_validation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return __all__
