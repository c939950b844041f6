"""Several rounds of LLMEraser: on a convex loss they end in the model retrained without the rows, which one round does not reach."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.tiny import TinyTokenizer, random_examples, tiny_model
from tests.unlearning.methods.edited import configured
from unweave.data.batches import collate
from unweave.errors import ConfigError, TrainingError
from unweave.models.loading import Loaded
from unweave.unlearning.config import method_of
from unweave.unlearning.context import Context
from unweave.unlearning.edits import llmeraser
from unweave.unlearning.rows import ForgetRow

L2 = 0.05
FORGET = 3


class Convex:
    """A linear layer on fixed features: the output head's B, its A being as it is. Cross-entropy with L2 is strongly convex in it."""

    def __init__(self):
        base = tiny_model("llama")
        base.config.tie_word_embeddings = False
        base.lm_head.weight = torch.nn.Parameter(base.lm_head.weight.detach().clone())
        config = LoraConfig(r=2, lora_alpha=4, target_modules=["lm_head"], init_lora_weights=False)
        self.model = get_peft_model(base, config, autocast_adapter_dtype=False).eval().requires_grad_(False)
        (self.head,) = (own for name, own in self.model.named_parameters() if "lora_B" in name)
        examples = random_examples([6, 9, 7, 8, 6, 10, 7, 9, 8, 6])
        self.rows = tuple(ForgetRow(own, None, 1.0, place < FORGET) for place, own in enumerate(examples))
        self.loaded = Loaded(self.model, TinyTokenizer.make(), "tiny", "own")
        self.minimise(self.rows)
        self.start = self.head.detach().clone()

    def minimise(self, rows):
        """Newton's method with the dense Hessian, written out: logits are z + scale B a, a the features and z the base's."""
        (layer,) = (own for own in self.model.modules() if hasattr(own, "lora_B"))
        seen = {}
        hooks = [
            layer.base_layer.register_forward_hook(lambda *given: seen.update(z=given[2])),
            layer.lora_A["default"].register_forward_hook(lambda *given: seen.update(a=given[2])),
        ]
        batch = collate([row.example for row in rows], pad_token_id=0)
        with torch.no_grad():
            self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask)
        for hook in hooks:
            hook.remove()
        labels = batch.labels[:, 1:]
        kept = labels != -100
        share = (kept / kept.sum(dim=1, keepdim=True) / len(rows))[kept]
        z, a = (seen[name][:, :-1][kept] for name in "za")
        a = a * layer.scaling["default"]
        right = torch.nn.functional.one_hot(labels[kept], z.shape[1]).double()
        head = self.head.detach().clone()
        for _ in range(12):
            p = torch.softmax(z + a @ head.T, dim=-1)
            gradient = torch.einsum("t,tv,tr->vr", share, p - right, a) + L2 * head
            inner = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
            matrix = torch.einsum("t,tvw,tr,ts->vrws", share, inner, a, a).reshape(head.numel(), -1)
            matrix = matrix + L2 * torch.eye(len(matrix), dtype=matrix.dtype)
            head = head - torch.linalg.solve(matrix, gradient.flatten()).view(head.shape)
        assert float(gradient.norm()) < 1e-12
        with torch.no_grad():
            self.head.copy_(head)
        return head

    def edited(self, **options):
        """Where the method ends, and what it says; the model is put back."""
        exact = {"damping": 0.0, "metric": "identity", "tolerance": 1e-8, "iterations": 200, "curvature_rows": 0}
        config = configured("llmeraser", **{**exact, **options})
        try:
            return method_of(config).edit(Context(self.loaded, self.rows, config, config.target_loss))
        finally:
            self.end = self.head.detach().clone()
            with torch.no_grad():
                self.head.copy_(self.start)


@pytest.fixture(scope="module")
def convex():
    own = Convex()
    start = own.head.detach().clone()
    own.retrained = own.minimise(own.rows[FORGET:])
    with torch.no_grad():
        own.head.copy_(start)
    return own


@pytest.fixture
def limited(convex, monkeypatch):
    """Edit B alone."""
    inner = llmeraser.problem_of

    def own(*given):
        problem = inner(*given)
        kept = [item for item in problem.sketcher.parameters if "lora_B" in item.name]
        problem.sketcher.source = replace(problem.sketcher.source, parameters=kept)
        return problem

    monkeypatch.setattr(llmeraser, "problem_of", own)
    return convex


def distance(convex):
    return float((convex.end - convex.retrained).norm() / (convex.start - convex.retrained).norm())


def test_the_path_ends_in_the_retrained_model(limited):
    said = limited.edited(rounds=12, l2=L2)
    assert said["ended"] == "stationary"
    assert distance(limited) < 1e-6
    assert [own["remaining"] for own in said["rounds"]] == sorted(
        (own["remaining"] for own in said["rounds"]), reverse=True
    )
    assert len(said["rounds"]) < 12
    assert said["cautions"] == []


def test_one_round_does_not_reach_it(limited):
    said = limited.edited(rounds=2, l2=L2)
    two = distance(limited)
    limited.edited()
    one = distance(limited)
    assert one > 1e-3
    assert two < one / 5
    assert said["ended"] == "rounds"


def test_damping_and_loose_solutions_make_the_path_longer_and_leave_its_end(limited):
    said = limited.edited(rounds=40, l2=L2, damping=0.01, metric="adam", tolerance=1e-2, max_residual=1.0)
    assert said["ended"] == "stationary"
    assert len(said["rounds"]) > 6
    assert distance(limited) < 1e-6


def test_the_path_ends_at_the_target_and_never_beyond(limited):
    whole = limited.edited(rounds=12, l2=L2)
    start, end = whole["watched"][0]["forget_loss"], whole["watched"][-1]["forget_loss"]
    assert end > start
    target = (start + end) / 2
    said = limited.edited(rounds=12, l2=L2, target_loss=target)
    assert said["ended"] == "target"
    assert said["watched"][-1]["forget_loss"] == pytest.approx(target, rel=0.05)
    short = limited.edited(rounds=12, l2=L2, target_loss=end + 1.0)
    assert short["ended"] == "stationary"
    assert any("was to be reached" in one for one in short["cautions"]), "a target that no path reaches is said"


def test_the_path_stops_where_the_kept_rows_stand_no_more(limited):
    whole = limited.edited(rounds=12, l2=L2, target_loss=50.0, scale=4.0)
    kept = [own["retain_loss"] for own in whole["watched"]]
    margin = (max(kept) - kept[0]) / 2
    assert margin > 0
    said = limited.edited(rounds=12, l2=L2, target_loss=50.0, scale=4.0, max_retain_increase=margin)
    assert max(own["retain_loss"] for own in said["watched"]) <= kept[0] + margin + 1e-9


def test_a_step_too_long_is_halved_until_less_is_left_to_do(limited):
    said = limited.edited(rounds=30, l2=L2, scale=4.0)
    remaining = [own["remaining"] for own in said["rounds"]]
    assert remaining == sorted(remaining, reverse=True)
    assert {own["scale"] for own in said["rounds"]} <= {4.0, 2.0, 1.0, 0.5}
    assert min(own["scale"] for own in said["rounds"]) < 4.0, "four times Newton's step is too far on a convex loss"
    assert distance(limited) < 1e-6


def test_a_target_beyond_the_retrained_model_leads_away_from_it_and_that_is_said(limited):
    whole = limited.edited(rounds=12, l2=L2)
    losses = [own["forget_loss"] for own in whole["watched"]]
    said = limited.edited(rounds=3, l2=L2, scale=6.0, target_loss=losses[-1] + 2 * (losses[-1] - losses[0]))
    assert any("led away from where a model retrained" in one for one in said["cautions"]) == (said["remaining"] > 1)
    assert said["remaining"] > 1


def test_a_target_that_is_reached_already_is_refused(limited):
    with pytest.raises(TrainingError, match="there is nothing to do"):
        limited.edited(rounds=3, l2=L2, target_loss=0.01)


def test_options_of_the_path_do_nothing_in_one_step(limited):
    said = limited.edited(rounds=1, l2=L2)
    assert any("`l2` does nothing" in one for one in said["cautions"])


def test_no_row_would_stay(limited):
    with pytest.raises(ConfigError, match="none would stay"):
        limited.edited(rounds=3, training_rows=2)
