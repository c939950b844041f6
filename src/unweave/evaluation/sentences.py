"""What comparisons of models say, in sentences."""

from unweave.evaluation.measures.membership import Membership
from unweave.stats.comparisons import Comparison


def reason_of(one: Comparison, reference: str) -> str:
    """A comparison in a sentence.

    Args:
        one: The comparison.
        reference: What its first model is called.

    Returns:
        Both values, the difference with its interval, and how sure it is.
    """
    if one.name.startswith("loss"):
        values = f"{one.second:.2f} nats a token, {one.first:.2f} in {reference}"
        change = f"{one.difference:+.2f} [{one.low:+.2f}, {one.high:+.2f}], margin {one.margin:g}"
    else:
        values = f"{100 * one.second:.1f} %, {100 * one.first:.1f} % in {reference}"
        change = f"{100 * one.difference:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}], margin {100 * one.margin:g}"
    return f"{one.name}: {values} ({change}; p {one.p_beyond_holm:.2g} after Holm, effect {one.effect_size:+.2f}, n {one.count})"


def leak_reason(leak: float, own: Membership, other: Membership) -> str:
    """What membership inference says, in a sentence.

    Args:
        leak: PrivLeak, in percent.
        own: The attack on the model under test.
        other: The same on the retrained one.

    Returns:
        Both areas, and what the difference means.
    """
    meaning = "the rows still look trained on" if leak < 0 else "the rows look stranger than rows never seen"
    return (
        f"membership (Min-40 %): AUC {own.area:.2f} [{own.low:.2f}, {own.high:.2f}], {other.area:.2f} [{other.low:.2f}, {other.high:.2f}] in the "
        f"retrained model, PrivLeak {leak:+.0f} %: {meaning}"
    )


def too_small(one: Comparison) -> str:
    """A comparison that could not decide, in a sentence.

    Args:
        one: The comparison.

    Returns:
        What would have been needed.
    """
    scale, unit = (1, "nats a token") if one.name.startswith("loss") else (100, "points")
    need = (
        f"about {one.rows_needed} rows are needed"
        if one.rows_needed > one.count
        else "the difference lies near the margin"
    )
    return (
        f"{one.name}: {one.count} rows can't tell whether the difference exceeds {scale * one.margin:g} {unit} "
        f"({scale * one.difference:+.2f} [{scale * one.low:+.2f}, {scale * one.high:+.2f}]): {need}"
    )
