"""Adam's preconditioner, as in LESS (Xia et al., ICML 2024, arXiv 2402.04333): division by the root of the second moments.

LESS reads the moments from the optimizer's state; that is gone once an adapter is saved, so they are estimated from rows: v = mean of g_i^2. A
coordinate's step under Adam is about g / sqrt(v), and influence is what such a step on a row does to the query.
"""

import torch

from unweave.curvature.base import Damping, Gradients, Problem, second_moments

DAMPING = 0.01


def adam(problem: Problem, queries: Gradients) -> Gradients:
    """g / (sqrt(v) + damping * mean sqrt(v)), the mean over each tensor.

    Args:
        problem: Model, rows, damping; the default is 0.01.
        queries: Their gradients.

    Returns:
        The preconditioned gradients.
    """
    moments = second_moments(problem, description="second moments")
    damping = DAMPING if problem.damping is None else problem.damping
    roots = {name: own.sqrt() for name, own in moments.items()}
    amounts = {name: damping * max(float(own.mean()), torch.finfo(own.dtype).tiny) for name, own in roots.items()}
    scale = "mean root of the second moments of each tensor"
    problem.note(Damping(damping, scale, min(amounts.values()), max(amounts.values()), None))
    return {name: query / (roots[name] + amounts[name]).view(query.shape[1:]) for name, query in queries.items()}
