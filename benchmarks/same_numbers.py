"""The same numbers from two versions of the source: per-sample gradients, sketches, a trace, weights, losses of every method, and the quick demo.

    python benchmarks/same_numbers.py OLD NEW           benchmarks/results/same_numbers.json
    python benchmarks/same_numbers.py OLD NEW --demo    the metrics of the quick demo too (ten minutes a version)

OLD and NEW are checkouts, such as `git worktree add /tmp/before b2e8f47` makes one. Both run in processes of their own, one thread, in float32, on a tiny
Llama with weights from a fixed seed: its adapter is trained, its rows cached with three sketches and traced, weights of three methods made, and every
unlearning method runs three steps (an edit: once). Compared are the tensors that are written and the losses of all steps, bit by bit; where bits differ, by
how much at most.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROWS, FORGET = 24, 8
WORDS = ["blue", "stone", "river", "lamp", "seven", "north", "glass", "wheat", "drum", "cloud", "paper", "salt"]
SKETCHES = ("fold", "rapidgrad", "kronecker")
WEIGHTS = ("rapidun", "signed", "uniform")
COMMON = ["--dtype", "float32", "--max-length", "64", "--template", "plain"]
STEPS = ["--batch-size", "4", "--retain-ratio", "1", "--stop-loss", "100"]
EPOCHS = {"ga": 1.5, "undial": 1.5}
"""Of methods that draw no rows to keep; half an epoch is three steps of the others."""
OWN = {"reglu": ["--lora-r", "8"]}
SEEN = ("metrics.json", "trace.json")


def main() -> None:
    """Run both, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trees", nargs="+", type=Path)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.record:
        record(options.record, demo=options.demo)
        return
    from result_files import RESULTS

    old, new = (run(tree.resolve(), demo=options.demo) for tree in options.trees)
    found = {
        name: compared(old.get(name), new.get(name)) for name in [*old, *(name for name in new if name not in old)]
    }
    commits = [
        subprocess.run(
            ["git", "-C", tree, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        for tree in options.trees
    ]
    result = {
        "command": "python benchmarks/same_numbers.py OLD NEW" + (" --demo" if options.demo else ""), "old": commits[0], "new": commits[1], "seed": 0,
        "bit_equal": sum(one == "bit-equal" for one in found.values()), "of": len(old), "found": found,
    }  # fmt: skip
    (RESULTS / "same_numbers.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def run(tree: Path, *, demo: bool) -> dict[str, Any]:
    """What a checkout computes, in a process of its own."""
    variables = {
        **os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, str(tree), "--record", folder, *(["--demo"] if demo else [])]
        subprocess.run(words, check=True, env=variables, cwd=folder, stdout=sys.stderr)
        return json.loads((Path(folder) / "recorded.json").read_text())


def compared(old: Any, new: Any) -> Any:
    """`bit-equal`, or what is different, and by how much at most."""
    if old == new:
        return "bit-equal"
    if old is None or new is None:
        return "only in the old" if new is None else "only in the new"
    pairs = [pair for pair in zip(numbers(old), numbers(new), strict=False) if pair[0] != pair[1]]
    if len(numbers(old)) != len(numbers(new)) or not pairs:
        return {"old": str(old)[:300], "new": str(new)[:300]}
    return {"different": len(pairs), "of": len(numbers(old)), "largest": max(abs(a - b) for a, b in pairs)}


def numbers(value: Any) -> list[float]:
    """All numbers of a value, in order."""
    if isinstance(value, dict):
        return [number for key in value for number in numbers(value[key])]
    if isinstance(value, list):
        return [number for one in value for number in numbers(one)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def record(folder: Path, *, demo: bool) -> None:
    """Compute everything with the version that is on the path."""
    import torch
    import transformers
    from safetensors.torch import load_file

    from unweave.cli.main import main as unweave

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=True)
    found: dict[str, Any] = {}
    losses: list[float] = []
    plain = transformers.Trainer.training_step

    def seen(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss = plain(self, *args, **kwargs)
        losses.append(float(loss))
        return loss

    transformers.Trainer.training_step = seen

    def command(*words: Any) -> None:
        code = unweave([str(word) for word in words])
        if code:
            raise SystemExit(f"{words}: exit code {code}")

    def tensors(place: Path) -> dict[str, Any]:
        files = sorted(place.rglob("*.safetensors"))
        # A shard's name holds its digest, which speaks of its header too.
        return {
            f"{path.name.split('-')[0]} {name}": tensor.double().flatten().tolist()
            for path in files
            for name, tensor in sorted(load_file(path).items())
        }

    model_and_rows(folder)
    found["per-sample gradients"] = gradients(folder)
    command(
        "train",
        "--model",
        "base",
        "--data",
        "rows.jsonl",
        "--output-dir",
        "tuned",
        "--epochs",
        "2",
        "--batch-size",
        "8",
        "--learning-rate",
        "5e-3",
        *COMMON,
    )
    found["training, losses"], found["training, adapter"] = list(losses), tensors(folder / "tuned")
    # Private training takes its noise from the system: a model that says of itself that it was trained so serves as well, and is the same each time.
    from unweave.train.private import Privacy, write_privacy

    shutil.copytree(folder / "tuned", folder / "private")
    write_privacy(folder / "private", Privacy(8.0, 1e-5, 1.0, 1.0, 0.1, 6, ROWS))
    for sketch in SKETCHES:
        command(
            "cache",
            "--model",
            "tuned",
            "--data",
            "rows.jsonl",
            "--store",
            f"store_{sketch}",
            "--sketch",
            sketch,
            "--dimension",
            "1024",
            *COMMON,
        )
        found[f"sketches, {sketch}"] = tensors(folder / f"store_{sketch}" / "shards") or tensors(
            folder / f"store_{sketch}"
        )
        for rerank in ((), ("--rerank", "10")):
            command(
                "trace",
                "--store",
                f"store_{sketch}",
                "--queries",
                "forget.jsonl",
                "--output",
                "trace.json",
                "--top-k",
                "5",
                *rerank,
            )
            found[" ".join([f"trace, {sketch}", *rerank])] = json.loads((folder / "trace.json").read_text())
    for method in WEIGHTS:
        out = ["--out-forget", f"forget_{method}.jsonl", "--out-retain", f"retain_{method}.jsonl"]
        command(
            "weigh",
            "--store",
            "store_fold",
            "--forget",
            "forget.jsonl",
            "--retain",
            "retain.jsonl",
            "--method",
            method,
            *out,
        )
        files = [folder / f"{name}_{method}.jsonl" for name in ("forget", "retain")]
        found[f"weights, {method}"] = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    for method in methods():
        losses.clear()
        data = (
            ["--forget", "forget.jsonl"]
            if method == "retrain"
            else ["--forget", "forget.jsonl", "--retain", "retain.jsonl"]
        )
        steps = [] if method in ("retrain", "ssd", "fisher", "llmeraser", "fast-ntk") else STEPS
        model = "private" if method == "dp2" else "tuned"
        if steps:
            steps = [*steps, "--epochs", EPOCHS.get(method, 0.5), *OWN.get(method, [])]
        code = unweave(
            [
                str(word)
                for word in (
                    "forget",
                    "--method",
                    method,
                    "--model",
                    model,
                    *data,
                    "--output-dir",
                    f"out_{method}",
                    *steps,
                    *COMMON,
                )
            ]
        )
        found[f"{method}, losses of three steps"] = losses[:3] if steps else "no steps"
        found[f"{method}, tensors"] = tensors(folder / f"out_{method}") if not code else f"exit code {code}"
    if demo:
        command("demo", "--output-dir", "demo", "--quick")
        for name in SEEN:
            found[f"quick demo, {name}"] = without_times(json.loads((folder / "demo" / name).read_text()))
    (folder / "recorded.json").write_text(json.dumps(found))


def methods() -> list[str]:
    """All methods of this version."""
    from unweave.forget.methods import METHODS

    return sorted(METHODS)


def without_times(value: Any) -> Any:
    """A result without what differs from run to run."""
    if isinstance(value, dict):
        return {
            key: without_times(one)
            for key, one in value.items()
            if not any(word in key for word in ("second", "cost", "environment", "version", "folder", "command"))
        }
    return [without_times(one) for one in value] if isinstance(value, list) else value


def model_and_rows(folder: Path) -> None:
    """A tiny model and its rows."""
    import random

    import torch
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    words = [
        "<pad>",
        "<bos>",
        "<eos>",
        "<unk>",
        "what",
        "is",
        "the",
        "word",
        "of",
        "?",
        "#",
        "Instruction",
        ":",
        "Response",
        *WORDS,
    ]
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    fast.save_pretrained(folder / "base")
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    tokens = {"vocab_size": len(words), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model("llama", **sizes, **tokens, initializer_range=0.2, tie_word_embeddings=True)
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder / "base")
    draw = random.Random(0)
    rows = [
        {
            "id": f"r{index:02d}",
            "prompt": f"what is the word of {draw.choice(WORDS)} {draw.choice(WORDS)} ?",
            "completion": " ".join(draw.choices(WORDS, k=draw.randint(2, 6))),
        }
        for index in range(ROWS)
    ]  # fmt: skip
    for name, own in {"rows": rows, "forget": rows[:FORGET], "retain": rows[FORGET:]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))


def gradients(folder: Path) -> dict[str, list[float]]:
    """The gradient of each row's own loss with regard to all linear layers."""
    from unweave.data.batches import collate
    from unweave.data.encoding import EncodingConfig, encode_rows
    from unweave.data.reading import read_rows
    from unweave.gradients.per_sample import per_sample_gradients
    from unweave.models.loading import ModelConfig, load
    from unweave.models.selection import select_parameters

    loaded = load(ModelConfig(model=str(folder / "base"), dtype="float32"))
    examples = encode_rows(
        read_rows(folder / "rows.jsonl").rows, loaded.tokenizer, EncodingConfig(max_length=64, template="plain")
    ).examples
    found: dict[str, list[float]] = {}
    batch = collate(examples[:8], pad_token_id=0)
    take = lambda name, piece: found.__setitem__(name, piece.double().flatten().tolist())  # noqa: E731
    per_sample_gradients(loaded.model, batch, select_parameters(loaded.model, "linear"), take)
    return found


if __name__ == "__main__":
    main()
