"""Pairwise influence by kronfluence's EK-FAC, and its factors.

    KRON_VENV/bin/python kronfluence_ekfac.py JOB.json SCORES.npy [FACTORS.safetensors]

The job is that of `unweave bench attribution --peers`: a base model, an adapter's folder (null for all linear layers but the head), a dtype, and `rows` and
`queries` as token ids with the length of their prompt. Losses are sums over tokens, as in kronfluence's own examples, and labels are sampled from the model,
unless the job says `empirical`; the damping is a tenth of the mean eigenvalue (`damping_factor=None`; its default adds 1e-8). Runs where kronfluence is
installed, imports nothing of unweave.
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
from torch.utils.data import Dataset
from transformers import AutoModelForCausalLM

FACTOR_DTYPES = (
    "activation_covariance_dtype", "gradient_covariance_dtype", "eigendecomposition_dtype", "lambda_dtype", "per_sample_gradient_dtype",
)  # fmt: skip
SCORE_DTYPES = "score_dtype", "per_sample_gradient_dtype", "precondition_dtype"


class Rows(Dataset):
    """One padded row an item."""

    def __init__(self, rows, width):
        self.rows, self.width = rows, width

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        ids, prompt = self.rows[index]["ids"], self.rows[index]["prompt"]
        fill = self.width - len(ids)
        # The last position predicts nothing, so that its inputs shape no covariance.
        return {
            "input_ids": torch.tensor(ids + [0] * fill),
            "attention_mask": torch.tensor([1] * len(ids) + [0] * fill),
            "predicts": torch.tensor([1] * (len(ids) - 1) + [0] * (fill + 1)),
            "labels": torch.tensor([-100] * prompt + ids[prompt:] + [-100] * fill),
        }


class SumLoss(Task):
    """The sum of the losses of all labelled tokens."""

    def __init__(self, names):
        super().__init__()
        self.names = names

    def get_influence_tracked_modules(self):
        return self.names

    def get_attention_mask(self, batch):
        return batch["predicts"]

    def compute_train_loss(self, batch, model, sample=False):
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1]
        labels = batch["labels"][:, 1:]
        if sample:
            with torch.no_grad():
                chances = torch.softmax(logits.detach().flatten(0, 1).float(), dim=-1)
                sampled = torch.multinomial(chances, 1).view_as(labels)
            labels = torch.where(labels == -100, labels, sampled)
        return torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="sum", ignore_index=-100)

    def compute_measurement(self, batch, model):
        return self.compute_train_loss(batch, model)


def load(job):
    model = AutoModelForCausalLM.from_pretrained(
        job["base"], dtype=getattr(torch, job["dtype"]), attn_implementation=job.get("attention", "eager")
    )
    if job.get("adapter") is None:
        linear = [name for name, own in model.named_modules() if isinstance(own, torch.nn.Linear)]
        return model, [name for name in linear if not name.endswith("lm_head")]
    from peft import PeftModel

    model = PeftModel.from_pretrained(model, job["adapter"], autocast_adapter_dtype=False)
    return model, [name for name, _ in model.named_modules() if name.endswith(("lora_A.default", "lora_B.default"))]


def main():
    with pathlib.Path(sys.argv[1]).open() as file:
        job = json.load(file)
    torch.manual_seed(0)
    model, names = load(job)
    wide = torch.promote_types(getattr(torch, job["dtype"]), torch.float32)
    task = SumLoss(names)
    model = prepare_model(model, task)
    width = max(len(row["ids"]) for row in (*job["rows"], *job["queries"]))
    rows, queries = Rows(job["rows"], width), Rows(job["queries"], width)
    with tempfile.TemporaryDirectory() as folder:
        analyzer = Analyzer("scores", model, task, output_dir=folder, cpu=True, disable_tqdm=True)
        arguments = FactorArguments(
            strategy="ekfac",
            use_empirical_fisher=job.get("empirical", False),
            **dict.fromkeys(FACTOR_DTYPES, wide),
        )
        analyzer.fit_all_factors("ekfac", rows, factor_args=arguments, per_device_batch_size=8)
        analyzer.compute_pairwise_scores(
            "scores", "ekfac", query_dataset=queries, train_dataset=rows, per_device_query_batch_size=4,
            per_device_train_batch_size=8,
            score_args=ScoreArguments(damping_factor=None, **dict.fromkeys(SCORE_DTYPES, wide)),
        )  # fmt: skip
        found = analyzer.load_pairwise_scores("scores")["all_modules"]
        if len(sys.argv) > 3:
            from safetensors.torch import save_file

            covariances, lambdas = analyzer.load_covariance_matrices("ekfac"), analyzer.load_lambda_matrices("ekfac")
            kept = {}
            for kind in ("activation_covariance", "gradient_covariance"):
                kept |= {f"{kind}/{name}": own.contiguous() for name, own in covariances[kind].items()}
            for name, own in lambdas["lambda_matrix"].items():
                kept[f"eigenvalues/{name}"] = own / lambdas["num_lambda_processed"][name].to(own)
            save_file(kept, sys.argv[3])
    np.save(sys.argv[2], found.double().numpy())


if __name__ == "__main__":
    main()
