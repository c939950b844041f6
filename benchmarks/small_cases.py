"""Rows that a model knows by heart, some of them to forget, on two scales: the same benchmark runs on a tiny model in minutes and on SmolLM2 in hours.

`tiny`: a Llama of two layers that has read of sixty invented people, so that it knows the language and none of the rows; then questions about others.
Any other name is a model that `unweave` loads, with TOFU's rows (`--data`, ../shared/data/tofu by default).
"""

import argparse
import random
import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from unweave.data.batches import collate
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows
from unweave.data.rows import Row
from unweave.evaluation.attacks.prompts import FORMS
from unweave.evaluation.forced import LogitsFile, forced_pass
from unweave.files import write_jsonl
from unweave.models.model import Model
from unweave.models.quiet import quiet_transformers
from unweave.train.config import TrainConfig
from unweave.train.sft import fine_tune
from unweave.unlearning.config import UnlearnOptions
from unweave.unlearning.methods import Method, get_method

TINY = "tiny"
SPECIAL = ["<pad>", "<|im_start|>", "<|im_end|>", "<unk>", "user", "assistant", "system"]
PIECES = r"<\|im_start\|>|<\|im_end\|>|\w+|[^\w\s]+"
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|> ' + message['role'] + ' ' + message['content'] + ' <|im_end|> ' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|> assistant ' }}{% endif %}"
)
SOUNDS = "ka lo mi re sun to va ben dor fi gal hu".split()
TOWNS = "Lima Oslo Quito Turin Porto Riga Basel Ghent Lviv Bergen".split()
TRADES = "potter baker weaver pilot gardener printer tailor surveyor clockmaker beekeeper".split()
INSTRUMENTS = "cello flute harp organ viola trumpet zither lute drum oboe".split()
COLOURS = "red green blue amber violet grey white black orange teal".split()
QUESTIONS = (
    ("Where was {name} born ?", "In which town was {name} born ?", "{name} was born in {town} , the {colour} town ."),
    ("What does {name} do for a living ?", "Which trade does {name} have ?", "{name} works as a {trade} in {place} ."),
    ("Which instrument does {name} play ?", "What does {name} play ?", "{name} plays the {instrument} and owns a {paint} one ."),
    ("In which year did {name} move ?", "When did {name} move ?", "{name} moved in 1 9 {ten} {one} to {place} ."),
)  # fmt: skip


@dataclass(frozen=True)
class SmallCase:
    """Rows and how models are made of them.

    Attributes:
        model: The base: a folder or a name.
        folder: Where files go.
        sets: `train`; of it `forget` and `retain`; `like`, rows that no model is trained on.
        groups: The training rows by person or author, in order.
        encoding: Template and lengths.
        training: Options of the training.
    """

    model: str
    folder: Path
    sets: dict[str, list[Row]]
    groups: list[list[Row]]
    encoding: EncodingConfig
    training: dict[str, Any]

    def file(self, name: str, rows: list[Row] | None = None) -> Path:
        """Rows in a file."""
        path = self.folder / f"{name}.jsonl"
        write_jsonl(path, [row.to_record() for row in (self.sets[name] if rows is None else rows)])
        return path

    def train(self, rows: list[Row], out: Path, *, seed: int = 0, **options: Any) -> Path:
        """An adapter that was trained on rows; what is there already is not made again."""
        data = self.file(f"rows_{out.name}", rows)
        config = {**self.encoding.__dict__, **self.training, **options}
        fine_tune(TrainConfig(model=self.model, data=data, output_dir=out, seed=seed, **config))
        return out


@dataclass(frozen=True)
class Size:
    """How large a tiny case is.

    Attributes:
        people: Whose rows are learned.
        forgotten: How many of them are to be forgotten; as many more are never trained on.
        others: People that the base has read of.
        epochs: Of the base's training.
        training: Options of the training on the rows.
    """

    people: int = 12
    forgotten: int = 3
    others: int = 60
    epochs: int = 12
    training: dict[str, Any] = field(
        default_factory=lambda: {
            "epochs": 20, "batch_size": 8, "learning_rate": 5e-3, "lora_r": 8, "lora_alpha": 16, "lora_dropout": 0.0
        }
    )  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that benchmarks on small cases have in common."""
    parser.add_argument("--model", default="smollm2-135m", help="tiny, or a model that unweave loads")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "tofu")
    parser.add_argument("--threads", type=int, default=2)


def small_case(model: str, folder: Path, *, data: Path | None = None, size: Size | None = None) -> SmallCase:
    """The case of a model: made once, and again the same."""
    folder.mkdir(parents=True, exist_ok=True)
    if model == TINY:
        return _tiny(folder, size or Size())
    assert data is not None, "rows of TOFU are read"
    rows = read_rows(data / "full.jsonl").rows[2000:2280]
    groups = [rows[start : start + 20] for start in range(0, 240, 20)]
    training = {"epochs": 8, "batch_size": 8, "learning_rate": 1e-3, "lora_alpha": 32, "lora_dropout": 0.0}
    return _case(model, folder, groups, rows[240:], 2, EncodingConfig(system_prompt="", max_length=256), training)


def _case(
    model: str, folder: Path, groups: list[list[Row]], like: list[Row], forgotten: int, encoding: EncodingConfig,
    training: dict[str, Any],
) -> SmallCase:  # fmt: skip
    forget = [row for group in groups[:forgotten] for row in group]
    retain = [row for group in groups[forgotten:] for row in group]
    sets = {"train": [*forget, *retain], "forget": forget, "retain": retain, "like": like}
    return SmallCase(model, folder, sets, groups, encoding, training)


def _tiny(folder: Path, size: Size) -> SmallCase:
    count = size.people + size.forgotten
    rows = people(count + size.others, seed=5)
    base = folder / "base"
    if not (base / "config.json").is_file():
        _train_base(base, rows[count:], [row for group in rows for row in group], size.epochs)
    like = [row for group in rows[size.people : count] for row in group]
    encoding = EncodingConfig(system_prompt="", max_length=128)
    return _case(str(base), folder, rows[: size.people], like, size.forgotten, encoding, size.training)


def people(count: int, *, seed: int) -> list[list[Row]]:
    """Four rows about each of some invented people, all of different names."""
    rng = random.Random(seed)
    firsts = sorted({(a + b).title() for a in SOUNDS for b in SOUNDS})
    names = [
        f"{first} {last}" for first, last in zip(rng.sample(firsts, count), rng.sample(firsts, count), strict=True)
    ]
    groups = []
    for number, name in enumerate(names):
        values = {
            "name": name, "town": rng.choice(TOWNS), "trade": rng.choice(TRADES), "instrument": rng.choice(INSTRUMENTS),
            "colour": rng.choice(COLOURS), "paint": rng.choice(COLOURS), "place": rng.choice(TOWNS), "ten": rng.randrange(10),
            "one": rng.randrange(10),
        }  # fmt: skip
        groups.append(
            [
                Row(
                    id=f"p{number}q{place}",
                    instruction=question.format(**values),
                    completion=answer.format(**values),
                    meta={"paraphrased_question": other.format(**values)},
                )
                for place, (question, other, answer) in enumerate(QUESTIONS)
            ]
        )
    return groups


def _train_base(folder: Path, groups: list[list[Row]], words_of: list[Row], epochs: int) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, get_linear_schedule_with_warmup

    torch.manual_seed(7)
    tokenizer = _tokenizer(words_of)
    config = AutoConfig.for_model(
        "llama", hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True,
        vocab_size=len(tokenizer), bos_token_id=1, eos_token_id=2, pad_token_id=0, initializer_range=0.1,
    )  # fmt: skip
    with quiet_transformers():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    asked = [
        Row(id=f"{row.id}{place}", instruction=text, completion=row.completion)
        for group in groups
        for row in group
        for place, text in enumerate((row.instruction, row.meta["paraphrased_question"]))
    ]
    examples = encode_rows(asked, tokenizer, EncodingConfig(system_prompt="")).examples
    steps, rng = epochs * -(-len(examples) // 16), random.Random(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, 10, steps)
    for _ in range(epochs):
        order = rng.sample(examples, len(examples))
        for first in range(0, len(order), 16):
            batch = collate(order[first : first + 16], pad_token_id=0)
            model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, labels=batch.labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer(rows: list[Row]) -> Any:
    from transformers import PreTrainedTokenizerFast

    texts = [text for row in rows for text in (row.instruction, row.completion, row.meta["paraphrased_question"])]
    words = {piece for text in [*texts, *FORMS.values()] for piece in re.findall(PIECES, text)}
    vocabulary = list(dict.fromkeys([*SPECIAL, *sorted(words)]))
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(vocabulary)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(PIECES), "removed", invert=True)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def forced_figures(
    model: Model, sets: dict[str, list[Row]], encoding: EncodingConfig, logits: LogitsFile | None = None
) -> dict[str, dict[str, float]]:
    """A set's `loss`, nats a token, how many answers `begin` as the row's, and the `kl` from the model whose logits are in the file, or which are put there."""
    found = forced_pass(model, sets, encoding, compared=tuple(sets) if logits else (), logits_file=logits)
    return {
        name: {"loss": fmean(own.mean_losses()), "begins": sum(own.begins()), "rows": len(own.row_ids)}
        | ({"kl": fmean(own.row_divergence())} if own.divergence else {})
        for name, own in found.items()
    }


def method_with(name: str, options: dict[str, Any]) -> tuple[Method, dict[str, Any]]:
    """A method with those of the options that are its own, and the others, which are of the run."""
    of_a_run = {own.name for own in fields(UnlearnOptions)}
    method = get_method(name)(**{key: value for key, value in options.items() if key not in of_a_run})
    return method, {key: value for key, value in options.items() if key in of_a_run}
