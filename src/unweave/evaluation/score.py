"""The evaluator: what one model makes of rows. Audits, certificates and `uw.evaluate` take their figures from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.evaluation.forced import Forced, LogitsFile, forced_pass
from unweave.evaluation.gradnorms import gradient_norms
from unweave.evaluation.inference import PRIVLEAK_ATTACK, Scored, membership_attacks, privleak_attack
from unweave.evaluation.measures.membership import Membership
from unweave.models.adapters import switched_off, switches_off
from unweave.models.model import Model


@dataclass(frozen=True)
class Score:
    """What one model makes of sets of rows.

    Attributes:
        forced: Set to the token values of its answers.
        reference: Set to its token losses under the base without the adapter; empty where there is none, or none was asked for.
        gradnorms: Set to the gradient norms of its first rows; empty where none were asked for.
    """

    forced: dict[str, Forced]
    reference: dict[str, list[list[float]]] = field(default_factory=dict)
    gradnorms: dict[str, list[float]] = field(default_factory=dict)

    def memberships(
        self, texts: Mapping[str, Mapping[str, str]], *, members: str, others: str
    ) -> dict[str, Membership]:
        """Every membership attack that can be made.

        Args:
            texts: Set to row id to answer, for zlib.
            members: The set that was trained on.
            others: A set of like rows that was not.

        Returns:
            Attack to its strength, that of PrivLeak among them.
        """
        sides = [
            Scored(
                own := self.forced[name],
                [texts[name][row_id] for row_id in own.row_ids],
                self.reference.get(name),
                self.gradnorms.get(name),
            )
            for name in (members, others)
        ]
        return membership_attacks(*sides) | {PRIVLEAK_ATTACK: privleak_attack(*sides)}


def score(
    model: Model,
    sets: Mapping[str, Sequence[Row]],
    encoding: EncodingConfig,
    *,
    compared: Sequence[str] = (),
    logits_file: LogitsFile | None = None,
    under_base: Sequence[str] = (),
    gradient_rows: Mapping[str, int] | None = None,
    token_budget: int = 4096,
    label: str = "score",
    lap: Callable[[str], None] = lambda _: None,
) -> Score:
    """Score the answers of sets of rows under a model: one teacher-forced pass, and what else is asked for.

    Args:
        model: The model.
        sets: Name to rows.
        encoding: Template and lengths.
        compared: Sets whose distributions are compared with those of a reference model.
        logits_file: That model's logits; where none are recorded yet, this model's are.
        under_base: Sets that are scored under the base too, where the model has an adapter that can be switched off.
        gradient_rows: Set to how many of its first rows have the norms of their gradients measured.
        token_budget: Tokens a batch, padding included.
        label: Names the model in progress.
        lap: Called with the name of each part as it ends.

    Returns:
        The scores.
    """
    forced = forced_pass(
        model,
        sets,
        encoding,
        compared=compared,
        logits_file=logits_file,
        token_budget=token_budget,
        description=f"{label}: given answers",
    )
    lap("given answers")
    reference: dict[str, list[list[float]]] = {}
    if under_base and model.adapter is not None and switches_off(model.model):
        pair = {name: sets[name] for name in under_base}
        with switched_off(model.model):
            under = forced_pass(model, pair, encoding, token_budget=token_budget, description=f"{label}: base model")
        reference = {name: own.losses for name, own in under.items()}
        lap("base model")
    norms = {
        name: gradient_norms(model, sets[name][:rows], encoding, description=f"{label}: gradients")
        for name, rows in (gradient_rows or {}).items()
    }
    lap("gradient norms")
    return Score(forced, reference, norms)
