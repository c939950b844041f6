"""Pairwise influence by kronfluence with the identity in place of a Hessian: plain inner products of gradients.

    KRON_VENV/bin/python kronfluence_scores.py JOB.json OUT.npy

The job names a model folder, an adapter folder, and rows as token ids with the length of their prompt. Runs where kronfluence is installed, imports
nothing of unweave.
"""

import json
import pathlib
import sys
import tempfile

import numpy as np
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from kronfluence_ekfac import Rows, load

# Gradients of this model cancel over positions: in float32 its own sums are good to 1.5e-4 only.
DTYPES = "score_dtype", "per_sample_gradient_dtype", "precondition_dtype"


class MeanLoss(Task):
    """The sum over rows of the mean loss over each row's answer."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def get_influence_tracked_modules(self):
        return self.names

    def get_attention_mask(self, batch):
        return batch["attention_mask"]

    def compute_train_loss(self, batch, model, sample=False):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none", ignore_index=-100)
        return (losses.sum(dim=1) / (labels != -100).sum(dim=1)).sum()

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)


def main():
    with pathlib.Path(sys.argv[1]).open() as file:
        job = json.load(file)
    model, names = load(job)
    task = MeanLoss(names)
    model = prepare_model(model, task)
    rows = Rows(job["rows"], max(len(row["ids"]) for row in job["rows"]))
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("scores", model, task, output_dir=folder, cpu=True, disable_tqdm=True)
        analyzer.fit_all_factors(
            "identity", rows, factor_args=FactorArguments(strategy="identity"), per_device_batch_size=4
        )
        analyzer.compute_pairwise_scores(
            "scores", "identity", query_dataset=rows, train_dataset=rows, per_device_query_batch_size=4,
            per_device_train_batch_size=4, score_args=ScoreArguments(**dict.fromkeys(DTYPES, torch.float64)),
        )  # fmt: skip
        found = analyzer.load_pairwise_scores("scores")["all_modules"]
    np.save(sys.argv[2], found.double().numpy())


if __name__ == "__main__":
    main()
