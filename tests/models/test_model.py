"""`Model` around what is in memory."""

import pytest
import torch

from tests.tiny import TinyTokenizer, tiny_model
from unweave.data.encoding import EncodingConfig
from unweave.data.reading import load_rows
from unweave.models.generation import greedy_answers
from unweave.models.model import IN_MEMORY, Model

ROWS = [{"messages": [{"role": role, "content": text} for role, text in pairs]} for pairs in (
    [("user", "hello"), ("assistant", "world"), ("user", "add 1 and 2"), ("assistant", "3")],
    [("system", "answer yes"), ("user", "hello"), ("assistant", "yes")],
)]  # fmt: skip


def test_a_model_in_memory_says_what_it_is():
    plain = Model(tiny_model("llama"), TinyTokenizer.make())
    adapted = Model(tiny_model("llama", lora=True), TinyTokenizer.make())
    assert (plain.base, plain.adapter) == (IN_MEMORY, None)
    assert (adapted.base, adapted.adapter) == (IN_MEMORY, IN_MEMORY)
    assert plain.device == torch.device("cpu")


def test_a_tokenizer_without_a_pad_token_is_copied_and_not_changed():
    tokenizer = TinyTokenizer.make()
    tokenizer.pad_token = None
    model = Model(tiny_model("llama"), tokenizer)
    assert model.tokenizer.pad_token_id == tokenizer.eos_token_id
    assert tokenizer.pad_token_id is None


@pytest.mark.parametrize(
    ("loss", "learned"), [("all-turns", ["world <|im_end|>", "3 <|im_end|>"]), ("last-turn", ["3 <|im_end|>"])]
)
def test_what_is_learned_stands_in_brackets(loss, learned):
    row = load_rows(ROWS)[0]
    text = Model(tiny_model("llama"), TinyTokenizer.make()).render(row, encoding=EncodingConfig(loss=loss))
    assert [part.partition("⟧")[0] for part in text.split("⟦")[1:]] == learned
    assert text.startswith("<|im_start|> user hello <|im_end|> <|im_start|> assistant")
    assert text.count("world <|im_end|>") == 1


def test_a_model_that_is_being_trained_answers_without_dropout_and_goes_on_training():
    model = Model(tiny_model("llama", lora=True), TinyTokenizer.make())
    rows = load_rows(ROWS)
    quiet = greedy_answers(model, list(rows), EncodingConfig())
    model.model.train()
    assert greedy_answers(model, list(rows), EncodingConfig()) == quiet
    assert model.model.training
