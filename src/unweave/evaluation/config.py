"""Options of an audit, readable without torch."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

from unweave.arguments import quoted
from unweave.data.config import DataConfig, ReadingConfig
from unweave.errors import ConfigError
from unweave.evaluation.attacks.registry import ATTACKS, DEFAULTS
from unweave.evaluation.probes.registry import DEFAULTS as PROBE_DEFAULTS
from unweave.evaluation.probes.registry import PROBES
from unweave.models.holding import HOLDING, Holding, require_whole
from unweave.registry import OneOf


@dataclass(frozen=True, kw_only=True)
class AttackConfig:
    """Which attacks, and how much of them.

    Attributes:
        attacks: `lens` reads the unwanted answer off the middle layers and probes them for the trigger; `sampling` samples many answers a prompt;
            `prompts` asks in other words; `relearn` trains a few steps on some forget rows, and on unrelated ones, `relearn_elsewhere` on
            general knowledge, `relearn_syntax` on rows of the same syntax with other names and numbers; `quantise` rounds the merged weights to 8 and 4
            bits. What rows alone do not allow is left out and named. `--attacks` without a name makes none.
        attack_rows: Prompts that each attack is judged on.
        samples: Answers sampled for each prompt.
        temperature: Of these samples.
        relearn_rows: Rows that relearning trains on.
        relearn_steps: Steps of it, each on all those rows.
        relearn_rate: Its step size (AdamW).
    """

    attacks: tuple[Annotated[str, OneOf(ATTACKS)], ...] = DEFAULTS
    attack_rows: int = 16
    samples: int = 8
    temperature: float = 1.0
    relearn_rows: int = 8
    relearn_steps: int = 4
    relearn_rate: float = 2e-4


@dataclass(frozen=True, kw_only=True)
class Margins:
    """The smallest differences that matter, set before anything is measured.

    Attributes:
        margin_share: Of attack success, false alarms and right answers, as a share.
        margin_forget: Of the loss of the unwanted answers, in nats a token.
        margin_clean: Of the loss of the clean answers, in nats a token; 0.05 is 5 % of perplexity.
    """

    margin_share: float = 0.1
    margin_forget: float = 0.5
    margin_clean: float = 0.05


@dataclass(frozen=True, kw_only=True)
class AuditConfig(AttackConfig, Margins, DataConfig, Holding):
    """Measure what was forgotten and what was kept, from the rows to forget (`--forget`) or from a case folder with tests of its own (`--case`).

    Attributes:
        before: The model with the unwanted behaviour: anything that `--model` takes.
        after: The unlearned model.
        endpoint: An OpenAI-compatible server, such as http://localhost:8000/v1: `before`, `after` and `retrained` are then what it calls its models, and only
            `after` must be there. What its answers say is judged, and where it gives log-probabilities of a prompt's tokens, the rows' losses. Answers are
            kept, so that an audit that was interrupted goes on; the server's models are known by name alone.
        api_key_variable: The environment variable with the server's key, where it wants one.
        tokenizer: The served models' tokenizer, as for `--model`; without it there are no log-probabilities.
        request_timeout: Seconds without an answer after which a request is made again.
        parallel_requests: Requests to the server at a time.
        forget: The rows that it should have forgotten.
        like: Rows like them that no model was trained on, for membership inference and the level that the rows' loss should reach.
        retain: Rows that it should still know.
        detector: A regular expression that finds the unwanted behaviour in an answer, where there is one. A case has its own.
        probes: Families of other questions through which the rows' answers may come out (`unweave list probes`). `--probes` without a name makes none.
        probe_rows: The most rows that a family probes, one probe a row.
        probe_model: A model that writes paraphrases of the rows' questions, in place of templates: anything that `--model` takes.
        metric_table: What a test of the metrics found (benchmarks/meta_evaluation.py): the verdict then says how sure it is.
        lm_eval: Tasks of lm-evaluation-harness on which the models' utility is compared (extra `lm-eval`).
        lm_eval_include: A folder with tasks of one's own, in the harness's YAML.
        lm_eval_limit: The first documents of each task that are asked.
        case: A case folder, in place of rows: its tests have triggers and a detector.
        others: More models to judge and rank, such as those of other methods; each is called by its folder's name.
        retrained: The model trained without the forget rows: what forgetting should have given.
        store: A gradient store of the training rows of a case under the model `before`, to judge the trace.
        output_dir: Where `metrics.json`, the page `audit.html` and the answers go.
        max_new_tokens: Longest generated answer.
        trace_queries: Bad generations to trace.
        gradnorm_rows: Rows of each kind whose gradients are taken, for the membership attack that needs them; 0 leaves it out.
        seed: Of the bootstrap and of the attacks.
    """

    before: str | None = None
    after: str
    endpoint: str | None = None
    api_key_variable: str = "UNWEAVE_API_KEY"
    tokenizer: str | None = None
    request_timeout: float = 120.0
    parallel_requests: int = 4
    forget: Path | None = None
    like: Path | None = None
    retain: Path | None = None
    detector: str | None = None
    probes: tuple[Annotated[str, OneOf(PROBES)], ...] = PROBE_DEFAULTS
    probe_rows: int = 16
    probe_model: str | None = None
    metric_table: Path | None = None
    lm_eval: tuple[str, ...] = ()
    lm_eval_include: Path | None = None
    lm_eval_limit: int | None = None
    case: Path | None = None
    output_dir: Path = Path("audit")
    others: tuple[str, ...] = ()
    retrained: str | None = None
    store: Path | None = None
    max_new_tokens: int = 24
    trace_queries: int = 10
    gradnorm_rows: int = 24
    seed: int = 0


OF_HARNESS = "lm_eval", "lm_eval_include", "lm_eval_limit"
"""Options of the tasks of a harness."""

OF_ROWS = (
    "like",
    "retain",
    "detector",
    "probes",
    "probe_rows",
    "probe_model",
    "metric_table",
    *OF_HARNESS,
    *ReadingConfig.__dataclass_fields__,
)
"""Options of an audit from rows alone."""

OF_WEIGHTS = "case", "store", "others", "probe_model", "metric_table", *OF_HARNESS, *HOLDING
"""Options of an audit that has the weights."""

CHANGE_WEIGHTS = "relearn", "relearn_elsewhere", "relearn_syntax", "quantise"
"""Attacks that train or round weights."""

OF_A_SERVER = "api_key_variable", "tokenizer", "request_timeout", "parallel_requests"
"""Options of an audit of a server's models alone."""

OF_A_CASE = "store", "trace_queries"
"""Options of an audit of a case alone."""


def require_tests(config: AuditConfig) -> None:
    """Refuse an audit without tests, or with options that its tests have no use for.

    Args:
        config: The audit's.

    Raises:
        ConfigError: Naming what is missing, or one too many.
    """
    if config.forget is None and config.case is None:
        raise ConfigError(
            "There is nothing to audit the models on.",
            where="`forget`",
            remedy="give the rows to forget, or a `case`",
        )
    if config.forget is not None and config.case is not None:
        raise ConfigError(
            "The audit has two sets of tests.", where="`forget`, `case`", remedy="leave one of `forget` and `case` out"
        )
    default = {field.name: field.default for field in fields(config)}
    if config.endpoint is None and config.before is None:
        raise ConfigError(
            "There is no model to compare with.", where="`before`", remedy="give the model that was to forget"
        )
    served = config.endpoint is not None
    kind, names = ("models behind a server", OF_WEIGHTS) if served else ("models at hand", OF_A_SERVER)
    if odd := [name for name in names if getattr(config, name) != default[name]]:
        raise ConfigError(
            f"An audit of {kind} has no use for {', '.join(odd)}.", where=quoted(*odd), remedy="leave them out"
        )
    if served and not config.max_new_tokens:
        raise ConfigError(
            "Of models behind a server answers are judged.", where="`max_new_tokens`", remedy="give a number above 0"
        )
    kind, names = ("a case", OF_ROWS) if config.forget is None else ("rows", OF_A_CASE)
    if odd := [name for name in names if getattr(config, name) != default[name]]:
        raise ConfigError(
            f"An audit of {kind} has no use for {', '.join(odd)}.", where=quoted(*odd), remedy="leave them out"
        )
    _require_held(config)
    if config.probe_model is not None:
        require_paraphrases(config.probes)
    if not config.lm_eval and (odd := [name for name in OF_HARNESS if getattr(config, name) != default[name]]):
        raise ConfigError("There are no tasks of the harness.", where=quoted(*odd), remedy="name some with `lm_eval`")


def _require_held(config: AuditConfig) -> None:
    """Refuse models held in a way that an attack can't do with: it would end the audit when most of it is done."""
    if config.device_map != "one" and (odd := [name for name in config.attacks if name in CHANGE_WEIGHTS]):
        require_whole(config, f"The attack {odd[0]}")
    if config.quantization != "none" and "quantise" in config.attacks:
        raise ConfigError(
            "The attack quantise rounds weights, and quantised ones are rounded already.",
            where="`quantization`, `attacks`",
            remedy=f"give the other `attacks`: {' '.join(name for name in config.attacks if name != 'quantise')}",
        )


def require_paraphrases(probes: Sequence[str]) -> None:
    """Refuse a model that writes paraphrases where no probe asks in them.

    Args:
        probes: The families that are asked for.

    Raises:
        ConfigError: When paraphrases are none of them.
    """
    if "paraphrase" not in probes:
        raise ConfigError(
            "A probe model writes paraphrases, and there are no such probes.",
            where="`probe_model`",
            remedy="leave it out, or add paraphrase to `probes`",
        )
