"""What is measured of a model before and after a request: losses of the rows to forget, of others, of like rows never trained on."""

import math
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ModelError
from unweave.evaluation.forced import Forced
from unweave.evaluation.inference import PRIVLEAK_ATTACK
from unweave.evaluation.score import score
from unweave.models.fingerprint import model_fingerprint
from unweave.models.loading import Loaded
from unweave.stats.comparisons import compare_paired


def measure(
    loaded: Loaded, sets: Mapping[str, Sequence[Row]], encoding: EncodingConfig, *, token_budget: int = 4096
) -> dict[str, Any]:
    """One teacher-forced pass over all sets.

    Args:
        loaded: The model.
        sets: `forget`, `test`, and where there are any `holdout` and `replacement`.
        encoding: Template and lengths.
        token_budget: Tokens a batch, padding included.

    Returns:
        The model's fingerprint; for each set its summary and its rows' mean losses; the membership attacks where there is a holdout. No text.
    """
    used = {name: rows for name, rows in sets.items() if rows}
    scored = score(loaded, used, encoding, token_budget=token_budget, label="measure")
    forced = scored.forced
    found: dict[str, Any] = {
        "model": model_fingerprint(loaded.model),
        "dtype": str(loaded.model.dtype).removeprefix("torch."),
        "logits": max(largest for own in forced.values() for largest in own.logits),
        "sets": {name: _summary(own) for name, own in forced.items()},
    }
    if "holdout" in forced:
        texts = {name: {row.id: row.completion for row in rows} for name, rows in used.items()}
        attacks = scored.memberships(texts, members="forget", others="holdout")
        attacks.pop(PRIVLEAK_ATTACK)
        found["membership"] = {name: own.to_json() for name, own in attacks.items()}
    _require_numbers(found, "measured", where=loaded.adapter or loaded.base)
    return found


def _require_numbers(value: Any, name: str, *, where: str) -> None:
    """Refuse what no file could hold as it is, and nobody could judge: a certificate of it would leave it out.

    Args:
        value: Measurements.
        name: What they are of.
        where: The model.

    Raises:
        ModelError: When a number is NaN or infinite.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            _require_numbers(item, f"{name}.{key}", where=where)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _require_numbers(item, f"{name}[{index}]", where=where)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ModelError(
            f"What was measured of the model is no number ({name} is {value}): nothing can be certified of it.",
            where=where,
            remedy="check its weights for NaN; unlearn with fewer epochs, a smaller learning rate, or another method",
        )


def _summary(own: Forced) -> dict[str, Any]:
    return {
        **own.summary(),
        "rows": len(own.row_ids),
        "verbatim": list(compress(own.row_ids, own.verbatim())),
        "begins": list(compress(own.row_ids, own.begins())),
        "losses": dict(zip(own.row_ids, own.mean_losses(), strict=True)),
        "tokens": sum(own.tokens()),
        "loss_sum": sum(own.sums()),
    }


def changes(before: dict[str, Any], after: dict[str, Any], *, margin: float) -> dict[str, Any]:
    """Paired comparisons of each set's losses.

    Args:
        before: From `measure`.
        after: From `measure`, of the same rows.
        margin: The smallest difference that matters, in nats a token.

    Returns:
        Set to comparison; sets of a single row have none.
    """
    found = {}
    for name, own in before["sets"].items():
        ids = [row_id for row_id in own["losses"] if row_id in after["sets"][name]["losses"]]
        if len(ids) > 1:
            pair = ([side["sets"][name]["losses"][row_id] for row_id in ids] for side in (before, after))
            found[name] = compare_paired(f"loss, {name}", *pair, margin=margin).to_json()
    return found
