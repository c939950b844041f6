"""The membership attacks, all of them at once, on two sets of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unweave.evaluation.forced import Forced
from unweave.evaluation.measures.membership import (
    PRIVLEAK_SHARE,
    Membership,
    gradnorm_score,
    loss_score,
    membership,
    min_k_plus_plus_score,
    min_k_score,
    reference_score,
    zlib_score,
)


@dataclass(frozen=True)
class Scored:
    """What the attacks look at, of one set of rows.

    Attributes:
        forced: Token values of their answers.
        texts: The answers.
        reference: Token losses under a model that never saw them.
        gradnorms: Norms of their gradients, of some rows at least.
    """

    forced: Forced
    texts: Sequence[str]
    reference: Sequence[Sequence[float]] | None = None
    gradnorms: Sequence[float] | None = None


def _each(score: Callable[..., float], *columns: Sequence[object]) -> list[float]:
    return [score(*values) for values in zip(*columns, strict=True)]


MEMBERSHIP_MEASURES: dict[str, Callable[[Scored], list[float] | None]] = {
    "loss": lambda own: _each(loss_score, own.forced.losses),
    "zlib": lambda own: _each(zlib_score, own.forced.losses, own.texts),
    "min_k": lambda own: _each(min_k_score, own.forced.losses),
    "min_k_plus_plus": lambda own: (
        _each(min_k_plus_plus_score, own.forced.losses, own.forced.means, own.forced.deviations)
        if own.forced.means
        else None
    ),
    "reference": lambda own: _each(reference_score, own.forced.losses, own.reference) if own.reference else None,
    "gradnorm": lambda own: _each(gradnorm_score, own.gradnorms) if own.gradnorms else None,
}
"""Name to the scores of a set, higher for rows that were trained on; `None` where what it needs was not measured. A new one is one line here."""

PRIVLEAK_ATTACK = "min_40"


def membership_attacks(members: Scored, others: Scored) -> dict[str, Membership]:
    """The strength of every attack that can be made.

    Args:
        members: Rows that were trained on.
        others: Like rows that were not.

    Returns:
        Attack to its area under the ROC curve, with interval.
    """
    found = {}
    for name, attack in MEMBERSHIP_MEASURES.items():
        own, other = attack(members), attack(others)
        if own is not None and other is not None:
            found[name] = membership(own, other)
    return found


def privleak_attack(members: Scored, others: Scored) -> Membership:
    """The attack that PrivLeak goes by: Min-40 %, as in MUSE.

    Args:
        members: Rows that were trained on.
        others: Like rows that were not.

    Returns:
        Its area under the ROC curve, with interval.
    """
    sides = ([min_k_score(losses, share=PRIVLEAK_SHARE) for losses in side.forced.losses] for side in (members, others))
    return membership(*sides)
