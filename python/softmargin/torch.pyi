from typing import Optional

from torch import Tensor  # type: ignore[import-not-found, unused-ignore]

__all__ = ["linear_cross_entropy"]

def linear_cross_entropy(
    X: Tensor,
    y: Tensor,
    W: Tensor,
    b: Optional[Tensor] = None,
    *,
    sample_weight: Optional[Tensor] = None,
    label_smoothing: float = 0.0,
) -> Tensor: ...
