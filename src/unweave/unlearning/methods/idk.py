"""IDK: preference optimisation towards saying that one does not know (TOFU, arXiv 2401.06121; DPO, arXiv 2305.18290)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from unweave.errors import DataError
from unweave.files import read_text
from unweave.unlearning.methods.balanced import Balanced
from unweave.unlearning.methods.base import ALL_REQUESTS
from unweave.unlearning.roles import Role

if TYPE_CHECKING:
    from torch import Tensor

    from unweave.data.rows import Row
    from unweave.unlearning.view import StepView

ANSWERS = (
    "I don't know.",
    "I have no information about that.",
    "That is not something I can answer.",
    "I'm not sure about this.",
    "I can't tell you that.",
    "I have not learned anything about that.",
    "My knowledge does not cover this.",
    "I am unable to answer this question.",
)


@dataclass(frozen=True, kw_only=True)
class IDK(Balanced):
    """The forget part is -(2/beta) log sigmoid(beta ((L - L_ref) of the unwanted answer - (L - L_ref) of an "I don't know" answer)), L summed losses.

    Example:
        >>> import unweave as uw
        >>> uw.unlearn(model, forget, retain, method=uw.methods.IDK(beta=0.2), epochs=1).method
        'idk'

    Attributes:
        beta: Inverse temperature.
        answers: A text file of answers to prefer, one a line; by default eight of our own.
    """

    name: ClassVar = "idk"
    summary: ClassVar = "preference optimisation towards an answer that one does not know"
    paper: ClassVar = "TOFU, arXiv 2401.06121; DPO, arXiv 2305.18290"
    cost: ClassVar = "one forward and one backward pass a step, with two sequences a forget row; one more forward pass for each of them in a run"
    requests: ClassVar = ALL_REQUESTS
    search: ClassVar = {"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (0.1, 0.5)}
    uses_clean: ClassVar = True
    brings_clean: ClassVar = True

    beta: float = 0.1
    answers: Path | None = None

    @property
    def compares(self) -> bool:
        """With the model before, always."""
        return True

    def forget_part(self, step: "StepView") -> "Tensor":
        """The preference loss of the pairs.

        Args:
            step: The step.

        Returns:
            A scalar.
        """
        import torch
        from torch.nn.functional import logsigmoid

        gaps = step.losses.sums() - step.reference_sums()
        ids = step.step.row_ids
        roles = step.step.roles.tolist()
        # A row sampled twice has two equal pairs: any of its preferred sequences will do.
        preferred = {ids[index]: index for index, role in enumerate(roles) if role == Role.CLEAN}
        partner = torch.tensor([preferred.get(row_id, index) for index, row_id in enumerate(ids)], device=gaps.device)
        return step.masked_mean(-2 / self.beta * logsigmoid(self.beta * (gaps - gaps[partner])), Role.UNWANTED)

    def clean_answers(self, rows: "Sequence[Row]", *, seed: int) -> dict[str, str | None]:
        """An answer to prefer for each row, chosen at random.

        Args:
            rows: The forget rows.
            seed: Of the sampling.

        Returns:
            Row id to text.

        Raises:
            DataError: When the file of answers is missing or empty.
        """
        answers: Sequence[str] = ANSWERS
        if self.answers is not None:
            path = Path(self.answers)
            if not path.is_file():
                raise DataError("The file of answers was not found.", where=str(path), remedy="check `answers`")
            answers = [line.strip() for line in read_text(path, what="The file of answers").split("\n") if line.strip()]
            if not answers:
                raise DataError("There are no answers here.", where=str(path), remedy="write one a line")
        rng = random.Random(seed)
        return {row.id: rng.choice(answers) for row in rows}
