"""Tokens and labels against TRL's own: what `SFTTrainer` makes of the same records, with `assistant_only_loss=True` for conversations.

Compared is all that the loss sees: the tokens up to the last that carries loss, and every label. What a chat template writes behind the last answer's end
(ChatML's newline) carries no loss, nor does it condition anything: TRL keeps it, we do not. A label on the first token is predicted by nothing.
"""

import json
import types
import warnings

import pytest

from tests.data import bytelevel
from tests.data.bytelevel import byte_tokenizer
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.reading import read_rows


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Lima"}}}

CONVERSATIONS = {
    "messages": [
        {"messages": [user("A?"), assistant("Ann lives in Elm street"), user("B?"), assistant(" second\n")]},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                user("What is it?"),
                assistant("The moon.\n\nIt is."),
            ]
        },
    ],
    "ShareGPT": [
        {
            "conversations": [
                {"from": "user", "value": "A?"},
                {"from": "assistant", "value": "one"},
                {"from": "user", "value": "B?"},
                {"from": "assistant", "value": "two"},
            ]
        }
    ],
    "prompt and completion": [
        {"prompt": [user("A?"), assistant("not learned"), user("B?")], "completion": [assistant("learned")]},
        {"prompt": [user("A?")], "completion": [assistant("x"), user("B?"), assistant("y")]},
    ],
    "tools": [
        {
            "messages": [
                user("q"),
                assistant("", tool_calls=[CALL]),
                {"role": "tool", "content": "7"},
                assistant("It is 7."),
            ],
            "tools": json.dumps([TOOL]),
        }
    ],
}

TEXTS = {
    "prompt and completion": [
        {"prompt": "The capital of France is", "completion": " Paris."},
        {"prompt": "moo", "completion": "nlight"},  # a token reaches across
        {"prompt": "Q: user\nA: ", "completion": "assistant</s>"},
    ],
    "text": [{"text": "the moon is made of rock, not cheese"}, {"text": "rock</s>"}],
}


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """TRL's preparation of records."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trl = pytest.importorskip("trl")
        import datasets
        from trl import SFTConfig, SFTTrainer

        assert trl.__version__

    def prepared(records, tokenizer, **options):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            args = SFTConfig(
                output_dir=str(tmp_path_factory.mktemp("trl")),
                report_to=[],
                bf16=False,
                use_cpu=True,
                max_length=None,
                **options,
            )
            trainer = types.SimpleNamespace(
                _tokenizer=tokenizer,
                chat_template=None,
                completion_only_loss="prompt" in records[0] and "completion" in records[0],
            )
            data = datasets.Dataset.from_list(records)
            rows = SFTTrainer._prepare_dataset(trainer, data, tokenizer, args, False, None, "train")
            return [(row["input_ids"], row["labels"]) for row in rows]

    return prepared


def ours(records, tokenizer, folder, **options):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return encode_rows(read_rows(path), tokenizer, EncodingConfig(**options)).examples


def require_equal(examples, theirs):
    assert len(examples) == len(theirs)
    for example, (ids, labels) in zip(examples, theirs, strict=True):
        last = max(place for place, label in enumerate(labels) if label != -100)
        assert list(example.input_ids) == ids[: last + 1]
        labelled = [place for place, label in enumerate(labels) if label != -100 and place > 0]
        assert list(example.label_positions) == labelled


@pytest.mark.parametrize("kind", CONVERSATIONS)
@pytest.mark.parametrize("bos", [None, "<bos>"])
def test_conversations_have_trls_masks(prepare, tmp_path, kind, bos):
    template = bytelevel.CHATML if bos is None else "{{ bos_token }}" + bytelevel.CHATML
    tokenizer = byte_tokenizer(template, bos=bos)
    records = CONVERSATIONS[kind]
    require_equal(ours(records, tokenizer, tmp_path), prepare(records, tokenizer, assistant_only_loss=True))


def test_of_a_preference_the_chosen_side_is_trls_prompt_and_completion(prepare, tmp_path):
    tokenizer = byte_tokenizer()
    chosen, rejected = [assistant("yes")], [assistant("no")]
    ahead = [user("A?"), assistant("x"), user("B?")]
    theirs = prepare([{"prompt": ahead, "completion": chosen}], tokenizer, assistant_only_loss=True)
    for record in (
        {"prompt": ahead, "chosen": chosen, "rejected": rejected},
        {"chosen": [*ahead, *chosen], "rejected": [*ahead, *rejected]},
    ):
        require_equal(ours([record], tokenizer, tmp_path), theirs)


def test_of_preferences_in_texts_the_prompt_is_trls(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl.data_utils import extract_prompt
    records = [
        {"chosen": "Q: the sky is A: blue", "rejected": "Q: the sky is A: green"},
        {"chosen": "the moon shines", "rejected": "the moon is made of cheese"},
        {"chosen": "one two", "rejected": "one three"},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    theirs = [extract_prompt(record) for record in records]
    assert [(row.instruction, row.completion) for row in read_rows(path)] == [
        (own["prompt"], own["chosen"]) for own in theirs
    ]


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("bos", [None, "<bos>"])
def test_texts_have_trls_masks_without_a_template(prepare, tmp_path, kind, bos):
    tokenizer = byte_tokenizer(None, bos=bos)
    records = TEXTS[kind]
    examples = ours(records, tokenizer, tmp_path, template="none")
    require_equal(examples, prepare([dict(record) for record in records], tokenizer))
