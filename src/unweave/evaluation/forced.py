"""The teacher-forced pass: one batched forward over all rows of an audit, from which every metric of given answers is computed.

For each token of each answer it keeps the loss, whether the model would have chosen that token itself, and mean and deviation of the log-probabilities
at its place (for Min-K%++). Where a reference model's logits were recorded it also keeps the divergence from that model and whether the two choose
alike. Logits exist for one chunk of labelled positions at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from unweave import progress
from unweave.data.batches import Batch
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.reading import Problem
from unweave.data.rows import Row
from unweave.errors import ModelError
from unweave.evaluation.measures.divergence import kl_divergence
from unweave.evaluation.measures.likelihood import exact_memorisation, extraction_strength, perplexity, probability
from unweave.files import read_json, write_json
from unweave.gradients.loss import labelled_logits
from unweave.gradients.source import GradientSource
from unweave.models.loading import Loaded
from unweave.models.vocabulary import require_tokens
from unweave.run.folder import report_problems
from unweave.unlearning.outcome import BEGINS

CHUNK = 256


@dataclass(frozen=True)
class Forced:
    """Token values of the answers of some rows: a list a row, a number a token.

    Attributes:
        row_ids: The rows that fit, in order.
        losses: -log p of each token, in nats.
        hits: Whether the most likely token is the answer's.
        means: Mean of log p(v) over v sampled from p, at each token; empty where only the answers' own tokens have values.
        deviations: Its standard deviation; empty likewise.
        divergence: KL(reference || model) at each token; empty without a reference.
        agreement: Whether model and reference have the same most likely token; empty without a reference.
        logits: The largest size of a logit at any of a row's tokens: what a loss's rounding is measured against.
        problems: Rows that were cut or did not fit.
    """

    row_ids: list[str]
    losses: list[list[float]]
    hits: list[list[bool]]
    means: list[list[float]]
    deviations: list[list[float]]
    divergence: list[list[float]] = field(default_factory=list)
    agreement: list[list[bool]] = field(default_factory=list)
    logits: list[float] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def mean_losses(self) -> list[float]:
        """l(z) of each row, in nats a token."""
        return [sum(row) / len(row) for row in self.losses]

    def probabilities(self) -> list[float]:
        """Geometric mean probability a token, of each row."""
        return [probability(row) for row in self.losses]

    def sums(self) -> list[float]:
        """Summed loss of each row, in nats."""
        return [sum(row) for row in self.losses]

    def tokens(self) -> list[int]:
        """Tokens of each row's answer."""
        return [len(row) for row in self.losses]

    def verbatim(self) -> list[bool]:
        """Of each row, whether its answer comes out word for word when the model always takes its first choice."""
        return [all(row) for row in self.hits]

    def begins(self) -> list[bool]:
        """Of each row, whether such an answer begins as the row's: teacher-forced hits up to a token are what greedy decoding does up to it."""
        return [all(row[:BEGINS]) for row in self.hits]

    def row_divergence(self) -> list[float]:
        """Mean KL a token from the reference, of each row."""
        return [sum(row) / len(row) for row in self.divergence]

    def summary(self) -> dict[str, float]:
        """Means over rows of the teacher-forced metrics, and the perplexity over tokens."""
        values = {
            "probability": _mean(self.probabilities()),
            "exact_memorisation": _mean([exact_memorisation(row) for row in self.hits]),
            "extraction_strength": _mean([extraction_strength(row) for row in self.hits]),
            "perplexity": perplexity(self.losses),
        }
        if self.divergence:
            values["kl_from_retrained"] = _mean(self.row_divergence())
            values["token_agreement_with_retrained"] = _mean([float(hit) for row in self.agreement for hit in row])
        return values

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


class LogitsFile:
    """The logits of a reference model at every labelled position of a pass, in the model's own dtype, in one memory-mapped file.

    The first pass that is given the file writes it, and a small JSON beside it once it is whole; passes of other models read it.

    Args:
        path: The file.
        identity: What the logits depend on: a file of another identity is made anew.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]):
        self.path = path
        self.identity = dict(identity)
        self._about = path.with_suffix(".json")

    @property
    def written(self) -> bool:
        """Whether a reference has been recorded, all of it."""
        if not (self._about.is_file() and self.path.is_file()):
            return False
        return read_json(self._about, what="The reference's logits")["identity"] == self.identity

    def create(self, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        """Make the file.

        Args:
            shape: Labelled positions, and logits a position.
            dtype: Of the logits.

        Returns:
            A tensor of that shape, backed by the file.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.remove()
        return self._map(shape, dtype)

    def finish(self, stored: Tensor) -> None:
        """Say that all logits are there.

        Args:
            stored: From `create`.
        """
        dtype = str(stored.dtype).removeprefix("torch.")
        write_json(self._about, {"identity": self.identity, "shape": list(stored.shape), "dtype": dtype})

    def open(self, shape: tuple[int, int]) -> Tensor:
        """Read the file.

        Args:
            shape: Labelled positions, and logits a position, of the model that is compared.

        Returns:
            A tensor backed by the file.

        Raises:
            ModelError: When the shapes differ: the models' vocabularies or tokens do.
        """
        about = read_json(self._about, what="The reference's logits")
        if tuple(about["shape"]) != shape:
            raise ModelError(
                "The models can't be compared token by token: their vocabularies or their tokens of the same rows differ.",
                where=str(self.path),
                remedy="audit models of one tokenizer, or leave the retrained model out",
            )
        return self._map(shape, getattr(torch, about["dtype"]))

    def _map(self, shape: tuple[int, int], dtype: torch.dtype) -> Tensor:
        return torch.from_file(str(self.path), shared=True, size=shape[0] * shape[1], dtype=dtype).view(shape)

    def remove(self) -> None:
        """Delete what was recorded."""
        self._about.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)


def forced_pass(
    loaded: Loaded,
    sets: Mapping[str, Sequence[Row]],
    encoding: EncodingConfig,
    *,
    compared: Sequence[str] = (),
    logits_file: LogitsFile | None = None,
    token_budget: int = 4096,
    description: str = "teacher-forced",
) -> dict[str, Forced]:
    """Score the answers of several sets of rows in one batched pass.

    Args:
        loaded: The model.
        sets: Name to rows.
        encoding: Template and lengths.
        compared: Sets whose distributions are compared with a reference model's.
        logits_file: Where that model's logits are; when nothing is written there yet, this model's are: it becomes the reference.
        token_budget: Tokens a batch, padding included.
        description: For the progress bar.

    Returns:
        Name to the values of its rows.

    Raises:
        ModelError: When a loss is not finite.
    """
    found = {name: encode_rows(rows, loaded.tokenizer, encoding) for name, rows in sets.items()}
    encoded = {name: own.examples for name, own in found.items()}
    problems = {name: own.problems for name, own in found.items()}
    report_problems([problem for own in problems.values() for problem in own])
    examples: list[Example] = [example for name in sets for example in encoded[name]]
    require_tokens(loaded.model, examples, tokenizer=loaded.tokenizer)
    is_compared = [name in compared for name in sets for _ in encoded[name]]
    values: list[dict[str, list[Any]]] = [{} for _ in examples]
    record = logits_file is not None and not logits_file.written
    places = _places(examples, is_compared) if logits_file is not None else {}
    total = sum(len(places[index]) for index in places)
    stored: Tensor | None = None

    def work(chosen: list[int], batch: Batch) -> list[dict[str, list[Any]]]:
        nonlocal stored
        logits, targets, segments = labelled_logits(loaded.model, batch)
        if logits_file is not None and total and stored is None:
            shape = (total, logits.shape[1])
            stored = logits_file.create(shape, logits.dtype) if record else logits_file.open(shape)
        columns = _token_values(logits, targets)
        if not torch.isfinite(columns["losses"]).all():
            raise ModelError(
                f"A loss is not finite, in the batch of row {batch.row_ids[0]}.",
                remedy="use `dtype` float32, and check the weights for NaN",
            )
        own: list[dict[str, list[Any]]] = []
        here = segments.cpu()
        for slot, index in enumerate(chosen):
            mine = here == slot
            own.append({name: column[mine].tolist() for name, column in columns.items()})
            if stored is not None and is_compared[index]:
                span = slice(places[index].start, places[index].stop)
                kept = logits[segments == slot]
                if record:
                    stored[span] = kept.cpu()
                own[-1] |= _against(stored[span], kept)
        return own

    source = GradientSource(loaded.model, loaded.tokenizer.pad_token_id, token_budget=token_budget)
    with progress.task(description, len(examples)) as advance, torch.inference_mode():
        for chosen, own in source.each(examples, work, advance=advance):
            for index, token_values in zip(chosen, own, strict=True):
                values[index] = token_values
    if logits_file is not None and record and stored is not None:
        logits_file.finish(stored)
    return _by_set(encoded, problems, values, compared if stored is not None else ())


def _places(examples: Sequence[Example], is_compared: Sequence[bool]) -> dict[int, range]:
    """Where in the file each compared example's logits lie."""
    places, start = {}, 0
    for index, example in enumerate(examples):
        if is_compared[index]:
            places[index] = range(start, start + example.completion_length)
            start += example.completion_length
    return places


def _token_values(logits: Float[Tensor, "N V"], targets: Int[Tensor, " N"]) -> dict[str, Tensor]:
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    parts: dict[str, list[Tensor]] = {"losses": [], "hits": [], "means": [], "deviations": [], "logits": []}
    for start in range(0, len(targets), CHUNK):
        raw = logits[start : start + CHUNK].to(wide)
        # A logit of minus infinity rules a token out, and rounds to nothing else.
        parts["logits"].append(raw.abs().nan_to_num(posinf=0.0).amax(dim=-1))
        own = torch.log_softmax(raw, dim=-1)
        wanted = targets[start : start + CHUNK]
        parts["losses"].append(-own.gather(1, wanted[:, None]).squeeze(1))
        parts["hits"].append(own.argmax(dim=-1) == wanted)
        share = own.exp()
        # A logit of minus infinity has probability 0 and counts nothing.
        weighted = (share * own).nan_to_num(nan=0.0)
        center = weighted.sum(dim=-1)
        second = (weighted * own).nan_to_num(nan=0.0).sum(dim=-1)
        parts["means"].append(center)
        parts["deviations"].append((second - center.square()).clamp(min=0).sqrt())
    return {name: torch.cat(part).cpu() for name, part in parts.items()}


def _against(reference: Tensor, logits: Tensor) -> dict[str, list[Any]]:
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    divergence, agreement = [], []
    for start in range(0, len(logits), CHUNK):
        own, other = logits[start : start + CHUNK].to(wide), reference[start : start + CHUNK].to(logits.device, wide)
        divergence += kl_divergence(other, own).clamp(min=0).tolist()
        agreement += (own.argmax(dim=-1) == other.argmax(dim=-1)).tolist()
    return {"divergence": divergence, "agreement": agreement}


def _by_set(
    encoded: Mapping[str, list[Example]],
    problems: Mapping[str, list[Problem]],
    values: list[dict[str, list[Any]]],
    compared: Sequence[str],
) -> dict[str, Forced]:
    found, start = {}, 0
    for name in encoded:
        own = values[start : start + len(encoded[name])]
        start += len(encoded[name])
        names = ["losses", "hits", "means", "deviations", *(["divergence", "agreement"] if name in compared else [])]
        columns = {column: [row[column] for row in own] for column in names}
        logits = [max(row["logits"]) for row in own]
        found[name] = Forced(
            [example.row_id for example in encoded[name]], **columns, logits=logits, problems=problems[name]
        )
    return found
