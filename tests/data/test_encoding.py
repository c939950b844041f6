"""Loss masks: completion only, EOS learned, one BOS, and every cut or dropped row reported."""

import itertools

import pytest

from unweave.data.batches import IGNORE, collate, length_groups, pack, plan_batches
from unweave.data.encoding import EncodingConfig, encode_prompt, encode_rows
from unweave.data.rows import Row
from unweave.data.templates import end_of_turn, render_prompt
from unweave.errors import ConfigError, DataError


def row(instruction="what is 1 plus 2 ?", completion="3", **fields):
    return Row(
        id=fields.pop("id", "r"), instruction=instruction, completion=completion, source="f.jsonl", line=4, **fields
    )


def test_loss_is_on_the_completion_and_its_end(tokenizer):
    example = encode_rows([row()], tokenizer, EncodingConfig()).examples[0]
    words = tokenizer.convert_ids_to_tokens(example.input_ids)
    assert words == "<|im_start|> user what is 1 plus 2 ? <|im_end|> <|im_start|> assistant 3 <|im_end|>".split()
    batch = collate([example], pad_token_id=0)
    learned = [word for word, label in zip(words, batch.labels[0].tolist(), strict=True) if label != IGNORE]
    assert learned == ["3", "<|im_end|>"]


def test_padding_with_eos_as_pad_token_is_not_learned(tokenizer):
    examples = encode_rows([row(id="a"), row("hello", "world on under", id="b")], tokenizer, EncodingConfig()).examples
    end = tokenizer.eos_token_id
    batch = collate(examples, pad_token_id=end)
    for index, example in enumerate(examples):
        assert (batch.labels[index] != IGNORE).sum() == example.completion_length
        assert batch.attention_mask[index].sum() == len(example)
        assert batch.labels[index][len(example) - 1] == end


def test_packed_labels_do_not_cross_examples(tokenizer):
    from unweave.gradients.loss import predicting_positions

    examples = encode_rows([row(id="a"), row("hello", "world", id="b")], tokenizer, EncodingConfig()).examples
    batch = pack(examples)
    mask, targets, segments = predicting_positions(batch)
    expected = [token for example in examples for token in example.input_ids[example.prompt_length :]]
    assert targets.tolist() == expected
    assert segments.tolist() == [0] * examples[0].completion_length + [1] * examples[1].completion_length
    assert mask.sum() == len(expected)
    assert batch.position_ids[0].tolist() == [*range(len(examples[0])), *range(len(examples[1]))]


@pytest.mark.parametrize("template", ["alpaca", "dolly", "plain"])
def test_plain_templates_with_and_without_context(tokenizer, template):
    with_context = render_prompt(row(context="Paris"), tokenizer, template=template)
    without = render_prompt(row(), tokenizer, template=template)
    assert "Paris" in with_context
    assert "what is 1 plus 2 ?" in without
    assert "{" not in with_context + without


def test_bos_is_never_doubled(tokenizer):
    from tokenizers import processors

    plain = encode_prompt(row(), tokenizer, EncodingConfig(template="plain"))
    assert plain[0] != tokenizer.bos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )
    for template in ("plain", "chat"):  # the chat template writes a BOS of its own
        ids = encode_prompt(row(), tokenizer, EncodingConfig(template=template))
        assert ids[0] == tokenizer.bos_token_id
        assert ids[1] != tokenizer.bos_token_id


def test_end_of_turn_is_the_templates_own(tokenizer):
    assert end_of_turn(tokenizer).ids == (tokenizer.convert_tokens_to_ids("<|im_end|>"),)
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<unk>")
    assert end_of_turn(tokenizer).stop == tokenizer.unk_token_id
    assert end_of_turn(tokenizer, template="alpaca").ids == (tokenizer.eos_token_id,)


def test_system_prompt_and_earlier_turns(tokenizer):
    text = render_prompt(row(), tokenizer, system_prompt="yes")
    assert text.startswith("<|im_start|> system yes <|im_end|>")
    talk = row(turns=(("user", "hello"), ("assistant", "world")))
    assert render_prompt(talk, tokenizer).index("world") < render_prompt(talk, tokenizer).index("what")
    with pytest.raises(ConfigError, match="earlier turns"):
        render_prompt(talk, tokenizer, template="alpaca")


def test_long_rows_are_cut_or_dropped_and_reported(tokenizer):
    rows = [row(id="fits"), row(completion="a b c d e f g", id="long"), row("a " * 30, id="hopeless")]
    limit = len(encode_rows(rows[:1], tokenizer, EncodingConfig()).examples[0]) + 2
    cut = encode_rows(rows, tokenizer, EncodingConfig(max_length=limit))
    assert [example.row_id for example in cut.examples] == ["fits", "long"]
    assert len(cut.examples[1]) == limit
    assert cut.examples[1].input_ids[-1] != tokenizer.eos_token_id  # a cut answer has no end to learn
    assert [(problem.action, problem.place) for problem in cut.problems] == [
        ("cut", "f.jsonl:4"),
        ("dropped", "f.jsonl:4"),
    ]
    dropped = encode_rows(rows, tokenizer, EncodingConfig(max_length=limit, on_long_row="drop"))
    assert [example.row_id for example in dropped.examples] == ["fits"]
    assert [problem.action for problem in dropped.problems] == ["dropped", "dropped"]
    with pytest.raises(DataError, match="too long") as raised:
        encode_rows(rows, tokenizer, EncodingConfig(max_length=limit, on_long_row="error"))
    assert "f.jsonl:4" in str(raised.value)
    with pytest.raises(DataError, match="No row is left"):
        encode_rows(rows[2:], tokenizer, EncodingConfig(max_length=limit))


def test_plain_text_rows_learn_all_but_the_first_token(tokenizer):
    example = encode_rows([row("", "a b c")], tokenizer, EncodingConfig()).examples[0]
    assert example.prompt_length == 1
    assert tokenizer.convert_ids_to_tokens(example.input_ids) == ["a", "b", "c", "<|im_end|>"]


def test_batches_hold_their_budget_and_every_index_once():
    lengths = [5, 90, 12, 12, 3, 40, 41, 7]
    batches = plan_batches(lengths, token_budget=90, max_rows=3)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[index] for index in batch) <= 90 for batch in batches)
    assert all(len(batch) <= 3 for batch in batches)
    assert plan_batches([200], token_budget=90) == [[0]]


def test_unknown_template_and_missing_chat_template(tokenizer):
    with pytest.raises(ConfigError, match="'alpca'") as raised:
        render_prompt(row(), tokenizer, template="alpca")
    assert "did you mean 'alpaca'" in str(raised.value)
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="no chat template"):
        render_prompt(row(), tokenizer)


def test_length_groups_are_the_cheapest_cut():
    lengths = [30, 61, 29, 33, 60, 31, 8, 64]

    def cost(groups, overhead):
        return sum(len(group) * max(lengths[index] for index in group) + overhead for group in groups)

    order = sorted(range(8), key=lambda index: lengths[index])
    cuts = [cut for count in range(8) for cut in itertools.combinations(range(1, 8), count)]
    others = [[order[a:b] for a, b in itertools.pairwise((0, *cut, 8))] for cut in cuts]
    for overhead in (1, 20, 64, 1000):
        groups = length_groups(lengths, overhead=overhead)
        assert [index for group in groups for index in group] == order
        assert cost(groups, overhead) == min(cost(other, overhead) for other in others)
    assert [len(length_groups(lengths, overhead=overhead)) for overhead in (1, 20, 1000)] == [6, 3, 1]
    assert length_groups([]) == []
