"""DataInf (Kwon et al., ICLR 2024, arXiv 2310.00902): a closed form for each tensor, by swapping mean and inverse.

(1/n sum_i g_i g_i^T + lambda I)^-1 is replaced by 1/n sum_i (g_i g_i^T + lambda I)^-1, whose terms Sherman and Morrison give:

    P q = (1/lambda) (q - (1/n) sum_i (g_i . q) / (lambda + |g_i|^2) g_i).

The paper's lambda is 0.1 times the mean squared gradient entry of the tensor: a relative damping of 0.1, the default here.
"""

import torch
from torch import Tensor

from unweave.curvature.base import Damping, Gradients, Problem

DAMPING = 0.1


def datainf(problem: Problem, queries: Gradients) -> Gradients:
    """The closed form, in two passes over the rows: one for lambda, one for the sum.

    Args:
        problem: Model, rows, damping; the default is 0.1.
        queries: Their gradients.

    Returns:
        The preconditioned gradients.
    """
    relative = DAMPING if problem.damping is None else problem.damping
    squares: dict[str, float] = {}

    def norms(name: str, piece: Tensor) -> None:
        squares[name] = squares.get(name, 0.0) + float(piece.square().sum())

    problem.visit(norms, description="datainf, damping")
    count = len(problem.rows)
    flat = {name: query.flatten(1) for name, query in queries.items()}
    damping = {name: relative * squares[name] / (count * query.shape[1]) for name, query in flat.items()}
    problem.note(Damping.of_tensors(relative, damping))
    sums = {name: torch.zeros_like(query) for name, query in flat.items()}

    def add(name: str, piece: Tensor) -> None:
        weights = (piece @ flat[name].T) / (damping[name] + piece.square().sum(dim=1, keepdim=True))
        sums[name].addmm_(weights.T, piece)

    problem.visit(add, description="datainf")
    return {
        name: ((flat[name] - sums[name] / count) / max(damping[name], torch.finfo(torch.float32).tiny)).view(
            query.shape
        )
        for name, query in queries.items()
    }
