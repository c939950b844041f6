"""The metrics of a certificate, measured anew: before, after, and of the model before all requests, on the rows as the data has them now."""

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from safetensors import SafetensorError

from unweave.data.rows import Row
from unweave.errors import UnweaveError
from unweave.files import read_record
from unweave.ledger.config import VerifyConfig
from unweave.ledger.criteria import read_reference
from unweave.ledger.job import Job
from unweave.ledger.keys import NAMED
from unweave.ledger.materials import before
from unweave.ledger.measure import measure
from unweave.ledger.measuring import never_trained
from unweave.ledger.sampling import held_out_rows, in_sampled_order
from unweave.ledger.tokens import encoding_of
from unweave.ledger.verify_files import Check, forgotten
from unweave.ledger.work import MEASURED_ORIGIN
from unweave.models.fingerprint import model_fingerprint
from unweave.models.loading import Loaded, ModelConfig, load

Opened = contextlib.AbstractContextManager[Loaded | None]
"""A model that is loaded when it is entered."""

SAME = 1e-7
"""A gap of losses, in nats a token, up to which the two were computed in the same way: then what the model chooses must be the same too."""

FLIPPED = 0.05
"""What a choice between two nearly equal tokens may change in a share where they were not."""


def metrics(
    job: Job, certificate: Mapping[str, Any], config: VerifyConfig, materials: Mapping[str, Any] | None
) -> Iterator[Check]:
    """Measure again what the certificate says was measured.

    Args:
        job: The request.
        certificate: As it lies in the request's folder.
        config: How much rounding may change.
        materials: What the request was carried out on; of requests of before that was recorded, the model after is measured.

    Yields:
        A check a set of rows and side.
    """
    for row in job.rows:
        comparable = not job.ledger.is_blind and row.id in job.request.rows
        if comparable and job.ledger.row_hash(row) != job.request.rows[row.id]:
            yield Check("the request's rows", f"row '{row.id}' has changed since")
    said = {"after": (str(job.adapter), certificate["measured"]["after"])}
    if materials is not None:
        said["before"] = before(job), certificate["measured"]["before"]
        if MEASURED_ORIGIN in job.bound().files:
            said["origin"] = (
                job.ledger.origin().model,
                read_record(job.folder / MEASURED_ORIGIN, what="Measurements"),
            )
    sides: dict[str, tuple[Opened, Mapping[str, Any]]] = {
        side: (_as_measured(job, model, own), own) for side, (model, own) in said.items()
    }
    if (reference := read_reference(job.folder)) is not None:
        sides["never trained on the rows"] = never_trained(job), reference
    extra = {"replacement": job.ledger.new_rows(job.request), "holdout": held_out_rows(job)}
    for side, (opened, own) in sides.items():
        title = "metrics" if side == "after" else f"metrics of the model {side}"
        yield from _side(job, opened, own, extra, config, title=title)


def _side(
    job: Job,
    opened: Opened,
    said: Mapping[str, Any],
    extra: Mapping[str, Sequence[Row]],
    config: VerifyConfig,
    *,
    title: str,
) -> Iterator[Check]:
    sources, may_leave = {row.id: row for row in job.rows}, forgotten(job.ledger)
    sets: dict[str, list[Row]] = {}
    for name, own in said["sets"].items():
        found = {row.id: row for row in extra[name]} if extra.get(name) else sources
        missing = sorted(set(own["losses"]) - set(found))
        if missing and job.ledger.is_blind and all(row_id.startswith(NAMED) for row_id in missing):
            yield Check(
                f"{title}, {name} ({len(missing)} of the rows can't be identified in the data without the ledger's key)",
                partly=True,
            )
        elif missing and set(missing) <= may_leave:
            # What was forgotten may leave the data; what is left of it is measured anew.
            yield Check(
                f"{title}, {name} ({len(missing)} of the rows have left the data: their loss can't be measured anew)",
                partly=True,
            )
        elif missing:
            yield Check(
                f"{title}, {name}", f"row '{missing[0]}' is no longer in the data: its loss can't be measured anew"
            )
            continue
        if rows := [found[row_id] for row_id in own["losses"] if row_id in found]:
            order = in_sampled_order((row.id for row in rows), key=f"{job.request.id}:{name}")
            chosen = set(order[: config.max_rows or None])
            sets[name] = [row for row in rows if row.id in chosen]
    try:
        with opened as loaded:
            if loaded is None:
                yield Check(title, "the model that the training began with is not known any more")
                return
            found = measure(loaded, sets, encoding_of(job), token_budget=config.token_budget)
            tolerance = config.tolerance if config.tolerance is not None else rounding(loaded.model, said)
            # Certificates of before have fingerprints of another kind.
            same = said["model"] == found["model"] or said["model"] == model_fingerprint(
                loaded.model, like=said["model"]
            )
    except (UnweaveError, SafetensorError, OSError, RuntimeError, ValueError, KeyError) as error:
        # Whatever keeps the metrics from being measured is a failed verification, not a crash of it.
        yield Check(title, f"they can't be measured: {' '.join(str(error).split())}")
        return
    fault = None if same else "the model's weights are not those that were certified"
    yield Check("the model's fingerprint" if title == "metrics" else f"{title}: fingerprint", fault)
    whole = all(set(own["losses"]) == set(said["sets"][name]["losses"]) for name, own in found["sets"].items())
    worst = 0.0
    for name, own in found["sets"].items():
        expected = said["sets"][name]
        gap, fault = _losses(own["losses"], {row.id: expected["losses"][row.id] for row in sets[name]}, tolerance)
        worst = max(worst, gap)
        if fault is None and set(own["losses"]) == set(expected["losses"]):
            fault = _summaries(own, expected, gap=gap, tolerance=tolerance)
        some = (
            f" ({len(sets[name])} of {len(expected['losses'])} rows)"
            if len(sets[name]) < len(expected["losses"])
            else ""
        )
        yield Check(f"{title}, {name}{some}", fault)
    if whole and len(sets) == len(said["sets"]):
        yield Check(
            f"{title}, membership", _membership(found.get("membership", {}), said.get("membership", {}), gap=worst)
        )


@contextlib.contextmanager
def _as_measured(job: Job, model: str, said: Mapping[str, Any]) -> Iterator[Loaded]:
    """A model as it was measured: in float32, or, of certificates of before, in the request's dtype."""
    yield load(ModelConfig(model=model, dtype=said.get("dtype", job.config.dtype), device=job.config.device))


def rounding(model: Any, said: Mapping[str, Any]) -> float:
    """How far two float32 evaluations of a loss may be apart, whatever the machine, the threads and the batch.

    A sum of n products in any order has a relative error of about u sqrt(n), u the unit roundoff (Higham and Mary, SIAM J. Sci. Comput. 41(5), 2019: such
    errors add up as a random walk does). A transformer of L layers adds 2 L such sums to its stream, each with an error of its own: u sqrt(2 L n), with n
    the widest sum. The logits are off by that share of the largest of them, a token's loss by twice as much, and two evaluations by both their errors.

    Args:
        model: The model.
        said: Its measurements, with the largest logit.

    Returns:
        Nats a token; of measurements of before the logits were kept, 0.001.
    """
    if "logits" not in said:
        return 1e-3
    config = model.config.get_text_config()
    wide = max(
        module.weight.shape[-1]
        for module in model.modules()
        if isinstance(getattr(module, "weight", None), torch.Tensor) and module.weight.dim() == 2
    )
    unit = torch.finfo(torch.float32).eps / 2
    return 4 * unit * math.sqrt(2 * config.num_hidden_layers * wide) * said["logits"]


def _losses(found: Mapping[str, float], expected: Mapping[str, float], tolerance: float) -> tuple[float, str | None]:
    """The largest gap, and what is wrong with it."""
    gaps = {row_id: abs(found.get(row_id, math.inf) - loss) for row_id, loss in expected.items()}
    worst = max(gaps, key=lambda row_id: gaps[row_id])
    if gaps[worst] <= tolerance:
        return gaps[worst], None
    return gaps[worst], f"the loss of row '{worst}' is off by {gaps[worst]:.3g} nats a token, {tolerance:g} are allowed"


def _summaries(found: Mapping[str, Any], expected: Mapping[str, Any], *, gap: float, tolerance: float) -> str | None:
    """The numbers of a whole set: what follows from losses within the tolerance, what follows from the model's choices all but exactly."""
    flipped = 0.0 if gap <= SAME else FLIPPED
    allowed = {
        "rows": 0.0,
        "tokens": 0.0,
        "loss_sum": tolerance * expected["tokens"],
        "probability": tolerance,
        "perplexity": math.expm1(tolerance) * expected["perplexity"] * (1 + tolerance),
        "exact_memorisation": flipped,
        "extraction_strength": 1.0 if flipped else 0.0,
    }
    for name, most in allowed.items():
        off = abs(found[name] - expected[name])
        if not off <= most + 1e-9 * abs(found[name]):
            return f"{name} is {found[name]:.6g}, the certificate says {expected[name]:.6g}"
    for kind, words in (("verbatim", "word for word come out"), ("begins", "so begin as the row does")):
        if not flipped and kind in expected and found[kind] != expected[kind]:
            return f"{words} {found[kind]}, the certificate says {expected[kind]}"
    return None


def _membership(found: Mapping[str, Any], expected: Mapping[str, Any], *, gap: float) -> str | None:
    most = 1e-9 if gap <= SAME else FLIPPED
    if set(found) != set(expected):
        return (
            f"the certificate has the attacks {', '.join(expected) or 'none'}, there are {', '.join(found) or 'none'}"
        )
    for name, own in expected.items():
        pairs = zip([own["auc"], *own["interval"]], [found[name]["auc"], *found[name]["interval"]], strict=True)
        if not all(abs(one - two) <= most for one, two in pairs):
            return f"{name}: AUC {found[name]['auc']:.4f}, the certificate says {own['auc']:.4f}"
    return None
