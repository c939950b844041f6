"""An empirical Fisher in sketch space, in the form of TRAK's kernel: (S^T S / n + damping I)^-1 with the store's sketches S as rows.

It is not TRAK itself (Park et al., ICML 2023, arXiv 2303.14186): that takes gradients of the log-odds of the right answer, weighs rows by 1 - p, averages over
several models and has no damping. Here the sketches are of the loss's gradients, of one model, and the damping is needed, as rows are fewer than K.

K x K is never made: with Woodbury's identity the inverse needs the n x n matrix of inner products of the rows only,

    (S^T S / n + lambda I)^-1 q = (1/lambda) (q - S^T (S S^T + n lambda I)^-1 S q).

Damping is relative to the mean squared norm of a row divided by n, the mean eigenvalue of S^T S / n over the directions that the rows span.
"""

import torch
from jaxtyping import Float
from torch import Tensor

DAMPING = 0.1


def trak(
    rows: Float[Tensor, "n K"], queries: Float[Tensor, "q K"], *, damping: float | None = None
) -> Float[Tensor, "q K"]:
    """Precondition the sketches of queries.

    Args:
        rows: Sketches of the rows that give the curvature: all, or a sample.
        queries: Sketches.
        damping: Relative damping; the default is 0.1.

    Returns:
        The preconditioned sketches.
    """
    products = (rows @ rows.T).double()
    shift = (DAMPING if damping is None else damping) * products.diagonal().mean()
    inner = torch.linalg.solve(
        products + shift * torch.eye(len(rows), dtype=torch.float64), (rows @ queries.T).double()
    )
    return (queries - inner.float().T @ rows) * (len(rows) / shift.float())
