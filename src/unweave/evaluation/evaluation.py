"""What evaluating a model on rows gives: figures of each model with their intervals, a verdict, and how they are shown."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unweave.evaluation.attacks.table import AttackRow
from unweave.evaluation.config import Margins
from unweave.evaluation.measures.membership import Membership
from unweave.evaluation.probes.outcome import ProbeRates
from unweave.evaluation.publishing import push_evaluation
from unweave.evaluation.verdict import Verdict
from unweave.frames import frame
from unweave.lazy import resolve
from unweave.stats.estimates import Estimate

if TYPE_CHECKING:
    import pandas

PAGE = "unweave.report.evaluation_page:write_evaluation_page"
"""A page is a rendering: what renders is loaded when one is wanted."""
RENDERED, FRAMED = "unweave.report.evaluation_page:render_evaluation_page", "unweave.report.notebook:framed"


@dataclass(frozen=True)
class Evaluation:
    """A model under test on rows to forget, on rows like them, and on rows to keep, beside the model before and one that never saw the rows.

    Attributes:
        verdict: What all of it says.
        figures: Model (`after`, `before`, `reference`) to set (`forget`, `like`, `retain`) to figure: `loss` in nats a token; `probability` a token;
            `exact_memorization`, `extraction_strength`; the shares of answers that come out `verbatim` and that `begin` as the row's; `rouge_l`, the recall
            of the generated answers, how many are the row's `exact`ly, how `fuzzy` they match it, how many of its named `facts` come out, the share of rows
            `given_away` (the answer is held, nearly said, or all of its facts are), the share that a detector finds (`detected`); `kl_from_reference` in nats
            a token.
        membership: Model to attack to its area under the ROC curve between forget rows and like ones; empty without like rows.
        losses: Model to set to row id to l(z), in nats a token.
        answers: Model to set to row id to its greedy answer; empty where none were generated.
        margins: The smallest differences that matter.
        left_out: What could not be said for want of rows or models.
        others: Further models to their verdicts.
        probes: Family of probes to its number, of how many rows none could be made and why, and model to the share that gave a row away; first the rows'
            own prompts.
        attacks: The numbers that attacks found, for the model under test and the reference; empty where none were made.
    """

    verdict: Verdict
    figures: dict[str, dict[str, dict[str, Estimate]]]
    membership: dict[str, dict[str, Membership]]
    losses: dict[str, dict[str, dict[str, float]]]
    answers: dict[str, dict[str, dict[str, str]]]
    margins: Margins
    left_out: list[str]
    others: dict[str, Verdict] = field(default_factory=dict)
    probes: dict[str, ProbeRates] = field(default_factory=dict)
    attacks: list[AttackRow] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object.

        Returns:
            All of it but the answers, which are texts.
        """
        figures = {
            model: {name: {figure: one.to_json() for figure, one in own.items()} for name, own in sets.items()}
            for model, sets in self.figures.items()
        }
        return {
            "verdict": self.verdict.to_json(),
            "others": {model: one.to_json() for model, one in self.others.items()},
            "figures": figures,
            "membership": {
                model: {attack: one.to_json() for attack, one in own.items()} for model, own in self.membership.items()
            },
            "probes": {name: one.to_json() for name, one in self.probes.items()},
            "attacks": [one.to_json() for one in self.attacks],
            "losses": self.losses,
            "margins": asdict(self.margins),
            "left_out": self.left_out,
        }

    def to_pandas(self) -> "pandas.DataFrame":
        """The figures as a frame of pandas.

        Returns:
            A row a figure: `model`, `rows`, `figure`, `value`, the ends `low` and `high` of its 95 % interval, and `count`. Membership attacks stand as
            figures of the rows `forget`, and so do families of probes and attacks.
        """
        lines: list[tuple[Any, ...]] = [
            (model, name, figure, one.value, one.low, one.high, one.count)
            for model, sets in self.figures.items()
            for name, own in sets.items()
            for figure, one in own.items()
        ]
        lines += [
            (model, "forget", f"membership, {attack}", one.area, one.low, one.high, one.members + one.others)
            for model, own in self.membership.items()
            for attack, one in own.items()
        ]
        lines += [
            (model, "forget", f"probe, {family}", one.value, one.low, one.high, one.count)
            for family, own in self.probes.items()
            for model, one in own.rates.items()
        ]
        lines += [
            (model, "forget", f"attack, {one.attack}: {one.what}", *value, one.count)
            for one in self.attacks
            for model, value in one.values.items()
        ]
        names = ("model", "rows", "figure", "value", "low", "high", "count")
        return frame({name: [line[place] for line in lines] for place, name in enumerate(names)})

    def save_html(self, path: str | Path) -> Path:
        """Write a page: one file, no script, no remote request.

        Args:
            path: The file.

        Returns:
            The file.
        """
        resolve(PAGE)(Path(path), self)
        return Path(path)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = True,
        token: str | None = None,
        commit_message: str = "An evaluation, made with unweave",
    ) -> str:
        """Put the numbers on the Hugging Face hub, as a small data set with a card: what was measured, what was not, and the verdict.

        No text of a row and no generated answer goes along. Rows are named by their ids, each with its loss: look at them before the data set is public.

        Args:
            repo_id: `owner/name` of the data set; it is made where it is not there.
            private: Whether a data set that is made is private; `None`: as the hub has it.
            token: Of the hub; by default the one that was logged in with.
            commit_message: Of the commit.

        Returns:
            The address of the commit.

        Raises:
            ModelError: When the hub refuses it; with what can be done about it.
        """
        return push_evaluation(self, repo_id, private=private, token=token, commit_message=commit_message)

    def _repr_html_(self) -> str:
        """The page of the evaluation, as a notebook shows it."""
        return resolve(FRAMED)(resolve(RENDERED)(self))
