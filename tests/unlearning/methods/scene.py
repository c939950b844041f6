"""A small model in float64 that has moved away from where it began, and a step of rows of very different lengths, for tests of objectives.

Rows, their weights and labelled tokens:

    0  forget, weight 1.5    a question and one token of answer; its clean answer has nine
    1  forget, weight 0.5    a conversation: answers of three and of nine tokens, with a question between
    2  retain, weight 2      three tokens of answer
    3  retain, weight 0.25   twenty-five tokens of answer

A test writes the loss anew from its paper on the logits of one row at a time; `check` compares value and gradient with the method's own, the rows in one padded
batch, in several, and in several joined in one pass.
"""

import copy
import math

import torch
from torch.nn import functional

from tests.tiny import TinyTokenizer, random_examples, tiny_model
from tests.unlearning.test_forget import PATHS
from unweave.data.encoding import Example
from unweave.models.loading import Loaded
from unweave.unlearning import steps
from unweave.unlearning.config import config_of, method_of
from unweave.unlearning.context import Context
from unweave.unlearning.methods import get_method
from unweave.unlearning.rows import ForgetRow
from unweave.unlearning.steps import SampledStep, collate_step
from unweave.unlearning.view import Reference, StepView

CUTS = ((300, False), (0, False), (0, True))
"""What a group costs beside its tokens, which decides how rows are cut into groups, and whether groups are joined."""

WEIGHTS = (1.5, 0.5, 2.0, 0.25)


def rows():
    short, clean, talk, three, long = random_examples([6, 14, 20, 9, 31], prompt=5)
    talk = Example(talk.row_id, talk.input_ids, 11, labelled=(3, 4, 5, *range(11, 20)))
    three = Example(three.row_id, three.input_ids, 6)
    long = Example(long.row_id, long.input_ids, 6)
    clean = Example(short.row_id, clean.input_ids, 5)
    return (
        ForgetRow(short, clean, WEIGHTS[0], True),
        ForgetRow(talk, None, WEIGHTS[1], True),
        ForgetRow(three, None, WEIGHTS[2], False),
        ForgetRow(long, None, WEIGHTS[3], False),
    )


class Scene:
    """The model as it is, a copy as it was, and the step."""

    def __init__(self, *, moved=True):
        self.model = tiny_model("gpt2", attention="sdpa", lora=True)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("lora_" in name)
        self.trained = [own for own in self.model.parameters() if own.requires_grad]
        self.reference, self.earlier = Reference(self.model), copy.deepcopy(self.model)
        self.rows = rows()
        if moved:
            torch.manual_seed(3)
            with torch.no_grad():
                for own in self.trained:
                    own.add_(torch.randn_like(own) * 0.2)

    def logits(self, example, *, before=False):
        """What predicts each labelled token of a row alone, [T, V], and the tokens, [T]."""
        ids = torch.tensor([example.input_ids])
        with torch.set_grad_enabled(not before):
            whole = (self.earlier if before else self.model)(input_ids=ids).logits[0]
        places = list(example.label_positions)
        return whole[[place - 1 for place in places]], ids[0, places]

    def nll(self, example, *, before=False):
        """-log p of each labelled token of a row."""
        return functional.cross_entropy(*self.logits(example, before=before), reduction="none")

    @property
    def forget(self):
        return [row.example for row in self.rows if row.is_forget]

    @property
    def retain(self):
        return [row.example for row in self.rows if not row.is_forget]

    def retained(self):
        """The mean loss a token of each retain row."""
        return [self.nll(example).mean() for example in self.retain]

    def objective(self, method, **options):
        found = config_of(method)(**PATHS, **options)
        self.context = Context(Loaded(self.model, TinyTokenizer.make(), "tiny", "own"), self.rows, found)
        return method_of(found)

    def step(self, method, cut=CUTS[0]):
        """The rows as the method reads them."""
        kept = steps.PASS_OVERHEAD, steps.BLOCK_OVERHEAD
        steps.PASS_OVERHEAD = steps.BLOCK_OVERHEAD = cut[0]
        try:
            drawn = SampledStep(self.rows, 0.5)
            return collate_step(drawn, pad_token_id=0, with_clean=get_method(method).uses_clean, joined=cut[1])
        finally:
            steps.PASS_OVERHEAD, steps.BLOCK_OVERHEAD = kept

    def view(self, method, cut=CUTS[0]):
        return StepView(self.model, self.step(method, cut), self.reference, self.context)

    def gradient(self, loss):
        found = torch.autograd.grad(loss, self.trained, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(own) if part is None else part).flatten()
                for own, part in zip(self.trained, found, strict=True)
            ]
        )

    def check(self, method, expected, **options):
        """Compare a method's loss and its gradient with those of the formula, a scalar attached to the model."""
        objective, slope = self.objective(method, **options), self.gradient(expected)
        assert slope.norm() > 1e-6, "a formula that moves nothing checks nothing"
        for cut in CUTS:
            view = self.view(method, cut)
            assert (len(view.step.groups) > 1) == (cut == (0, False))
            assert bool(view.step.groups[0].blocks) == cut[1]
            loss = objective.loss(view)
            assert math.isclose(loss.item(), expected.item(), rel_tol=1e-10, abs_tol=1e-12), (cut, loss, expected)
            assert (self.gradient(loss) - slope).norm() < 1e-9 * slope.norm(), cut


def balanced(forget, retain, *, gamma=1.0, alpha=1.0):
    """gamma * mean_i w_i f_i over the forget rows + alpha * mean_i w_i r_i over the retain rows."""
    parts = [
        sum(weight * value for weight, value in zip(own, values, strict=True)) / len(own)
        for own, values in ((WEIGHTS[:2], forget), (WEIGHTS[2:], retain))
    ]
    return gamma * parts[0] + alpha * parts[1]
