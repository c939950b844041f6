"""A method's loss in a trainer of TRL: the same steps as in a loop by hand."""

import warnings

import pytest
import torch

import unweave as uw
from tests.notebook import in_memory

OPTIONS = {"batch_size": 4, "epochs": 1.0, "adapter_mode": "continue", "seed": 3}


def optimizer_of(steps):
    return torch.optim.SGD(steps.parameters(), lr=1e-2)


def by_hand(own, method):
    steps = uw.UnlearnSteps(own["model"], own["forget"], own["retain"], method=method, **OPTIONS)
    optimizer = optimizer_of(steps)
    losses = []
    for step in steps:
        loss = method.loss(step)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses, steps.finish()


# 2026-11: TRL 1.16 sets what transformers 5 calls by another name
@pytest.mark.filterwarnings("ignore:`gradient_checkpointing:FutureWarning")
def test_a_methods_loss_in_trls_trainer_is_that_of_a_loop(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from datasets import Dataset
        from trl import SFTConfig, SFTTrainer

    method, own = uw.methods.NPO(beta=0.1), in_memory(tmp_path)
    expected, unlearned = by_hand(own, method)
    steps = uw.UnlearnSteps(own["model"], own["forget"], own["retain"], method=method, **OPTIONS)
    following, losses = iter(steps), []

    class Forgetting(SFTTrainer):
        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            loss = method.loss(next(following))
            losses.append(loss.item())
            return loss

    args = SFTConfig(
        str(tmp_path / "sft"), max_steps=len(steps), per_device_train_batch_size=1, max_grad_norm=0.0, report_to="none", use_cpu=True, save_strategy="no",
        bf16=False, disable_tqdm=True, max_length=32,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        optimizer = optimizer_of(steps)
        trainer = Forgetting(
            steps.model.model, args=args, processing_class=own["tokenizer"],
            train_dataset=Dataset.from_list([{"prompt": "hello", "completion": " world"}] * len(steps)),
            optimizers=(optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        )  # fmt: skip
        trainer.train()
    assert losses == pytest.approx(expected, rel=1e-5)
    assert losses[0] != losses[-1]
    found, wanted = steps.finish().model.state_dict(), unlearned.model.state_dict()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6)
