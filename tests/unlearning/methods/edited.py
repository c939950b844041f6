"""A tiny model with an adapter, weighted rows of very different lengths, and what an edit did to it; gradients by a loop over rows, in float64."""

from dataclasses import replace

import torch

from tests.tiny import TinyTokenizer, random_examples, tiny_model
from tests.unlearning.test_forget import PATHS
from unweave.models.loading import Loaded
from unweave.unlearning.config import config_of, method_of
from unweave.unlearning.context import Context
from unweave.unlearning.rows import ForgetRow

LENGTHS = [6, 15, 5, 12, 8, 20]
WEIGHTS = [1.5, 0.5, 1.0, 2.0, 0.25, 0.75]
FORGET = 2


class Scene:
    """Two rows to forget and four to keep. The adapter's factors are random, so that it has learned something at every layer."""

    def __init__(self, *, weighted=True, parameters="lora_"):
        self.model = tiny_model("llama", lora=True)
        examples = random_examples(LENGTHS)
        clean = random_examples([9, 7], seed=1)
        self.rows = tuple(
            ForgetRow(
                example,
                replace(clean[index], row_id=example.row_id) if index < FORGET else None,
                WEIGHTS[index] if weighted else 1.0,
                index < FORGET,
            )
            for index, example in enumerate(examples)
        )
        self.model.requires_grad_(False)
        self.parameters = {
            name: own for name, own in self.model.named_parameters() if parameters in name and "lora_" in name
        }
        self.loaded = Loaded(self.model, TinyTokenizer.make(), "tiny", "own")

    @property
    def forget(self):
        return self.rows[:FORGET]

    @property
    def retain(self):
        return self.rows[FORGET:]

    def context(self, config):
        return Context(self.loaded, self.rows, config, config.target_loss)

    def state(self):
        return torch.cat([own.detach().flatten() for own in self.parameters.values()]).clone()

    def split(self, flat):
        """Each parameter's part of a vector of all."""
        parts = flat.split([own.numel() for own in self.parameters.values()])
        return {name: part.view(own.shape) for part, (name, own) in zip(parts, self.parameters.items(), strict=True)}

    def limited(self, problem_of):
        """A module's `problem_of`, of the scene's own parameters alone."""

        def own(*given):
            problem = problem_of(*given)
            sketcher = problem.sketcher
            kept = [item for item in sketcher.parameters if item.name in self.parameters]
            sketcher.source = replace(sketcher.source, parameters=kept)
            return problem

        return own

    def edit(self, method, **options):
        """What an edit adds, and what it tells; the model is put back."""
        before = {name: own.detach().clone() for name, own in self.model.named_parameters() if "lora_" in name}
        start = self.state()
        try:
            config = configured(method, **options)
            told = method_of(config).edit(self.context(config))
            return self.state() - start, told
        finally:
            for name, own in self.model.named_parameters():
                if name in before:
                    own.data.copy_(before[name])

    def answer_logits(self, example):
        """The logits that predict a row's answer, and its tokens."""
        ids = torch.tensor([example.input_ids])
        places = list(example.label_positions)
        return self.model(input_ids=ids).logits[0][[place - 1 for place in places]], ids[0, places]

    def gradients(self, values, example):
        """The gradient of each of some values of a row's answer logits, by autograd."""
        for own in self.parameters.values():
            own.requires_grad_(True)
        try:
            with torch.enable_grad():
                found = values(*self.answer_logits(example))
                parts = torch.autograd.grad(
                    found,
                    list(self.parameters.values()),
                    torch.eye(len(found), dtype=found.dtype),
                    is_grads_batched=True,
                )
            return torch.cat([part.flatten(1) for part in parts], dim=1), found.detach()
        finally:
            self.model.requires_grad_(False)

    def loss_gradients(self, rows):
        """The gradient of the mean loss of each row's answer."""

        def mean_loss(logits, targets):
            return -torch.log_softmax(logits, dim=-1).gather(1, targets[:, None]).mean()[None]

        return torch.cat([self.gradients(mean_loss, row.example)[0] for row in rows])

    def fisher(self, rows):
        """The weighted mean of the squares of the rows' gradients."""
        weights = torch.tensor([row.weight for row in rows], dtype=torch.float64)
        return (weights[:, None] * self.loss_gradients(rows).square()).sum(dim=0) / weights.sum()


def configured(method, **options):
    """A config that no bound on the retain rows holds back, unless the test is about that."""
    return config_of(method)(**PATHS, **{"max_retain_increase": float("inf"), **options})


def close(found, expected, tolerance):
    """Whether two vectors agree, relative to the expected one's norm."""
    return float((found - expected).norm() / expected.norm()) < tolerance
