"""What a run is said to have done: against greedy decoding, and in words where it did nothing."""

import json
import math
from dataclasses import replace

import pytest
import torch

from tests.folders import ROWS, save_model, write_rows
from tests.tiny import random_examples, tiny_model
from unweave.cli.main import main
from unweave.unlearning.outcome import BEGINS, FASTER, SLOWER, Effect, Measured, judged, measured


def effect(before, after, kept=(1.0, 1.0), begins=(0, 0)):
    def own(loss, hits=0):
        return Measured([loss] * 4, [index < hits for index in range(4)], 10.0)

    return Effect((own(before, begins[0]), own(after, begins[1])), (own(kept[0]), own(kept[1])))


def greedy_beginning(model, example):
    """The first tokens that the model itself chooses after the prompt."""
    ids = list(example.input_ids[: example.prompt_length])
    with torch.no_grad():
        for _ in range(min(BEGINS, example.completion_length)):
            ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return tuple(ids[example.prompt_length :])


def test_beginnings_are_those_of_greedy_decoding():
    model = tiny_model("llama").eval()
    lengths = [4, 7, 11, 14, 16, 20]
    rows = []
    for index, example in enumerate(random_examples(lengths)):
        prompt, rest = example.input_ids[: example.prompt_length], example.input_ids[example.prompt_length :]
        own = greedy_beginning(model, example)
        # Every other row has the answer that the model would give, then something else.
        rows.append(replace(example, input_ids=prompt + own + rest[len(own) :]) if index % 2 else example)
    found = measured(model, rows, pad_token_id=0)
    expected = [row.input_ids[row.prompt_length :][:BEGINS] == greedy_beginning(model, row) for row in rows]
    assert found.begins == expected
    assert found.uniform == pytest.approx(math.log(model.config.vocab_size))
    assert expected[1::2] == [True] * 3
    assert not all(expected)


def test_a_run_is_cautioned_by_what_it_did():
    assert effect(1.0, 3.0).cautions() == []
    assert effect(1.0, 1.0).cautions() == ["no loss of any row measured changed: the model is the one before"]
    assert "next to nothing" in effect(1.0, 1.02).cautions()[0]
    assert "3 of 4 answers still begin as the rows' do (4 before)" in effect(0.1, 2.0, begins=(4, 3)).cautions()[0]
    assert "above the 10.000 of a model that knows nothing" in effect(1.0, 10.5).cautions()[0]
    assert "the retain rows' loss rose too, from 1.000 to 1.400" in effect(1.0, 3.0, kept=(1.0, 1.4)).cautions()[0]


def test_a_command_that_does_next_to_nothing_says_so_and_what_to_do_next(tmp_path, capsys):
    base = save_model(tmp_path / "base")
    rows = write_rows(tmp_path / "forget.jsonl", ROWS[:4])
    keep = write_rows(tmp_path / "retain.jsonl", ROWS[4:12])
    words = ["forget", "--model", base, "--forget", rows, "--retain", keep, "--method", "graddiff", "--epochs", 0.5, "--dtype", "float32"]  # fmt: skip
    quiet = [str(word) for word in (*words, "--output-dir", tmp_path / "out", "--learning-rate", 1e-7)]
    assert main(quiet) == 0
    out = capsys.readouterr().out
    assert "caution: the forget rows' loss went from" in out
    assert f"next: unweave forget --config {tmp_path / 'out' / 'config.yaml'} --learning-rate 2.5e-07" in out
    details = json.loads((tmp_path / "out" / "result.json").read_text())["result"]["details"]
    assert details["effect"]["forget_rows"] == 4
    assert any("next to nothing" in words for words in details["cautions"])


def test_a_run_that_made_answers_less_likely_than_chance_is_told_to_do_less(tmp_path, capsys):
    base = save_model(tmp_path / "base")
    rows = write_rows(tmp_path / "forget.jsonl", ROWS[:4])
    words = ["forget", "--model", base, "--forget", rows, "--method", "ga", "--epochs", 8, "--dtype", "float32", "--batch-size", 4]  # fmt: skip
    loud = [str(word) for word in (*words, "--output-dir", tmp_path / "out", "--learning-rate", 0.02, "--stop-loss", 1e9)]  # fmt: skip
    assert main(loud) == 0
    out = capsys.readouterr().out
    assert "of a model that knows nothing" in out
    assert "--learning-rate 0.008" in out


def test_cautions_and_the_next_rate_come_from_one_judgement():
    # The losses before and after, those of the retain rows, answers that begin as the rows' do; then the factor.
    cases = (
        ((1.0, 3.0), (1.0, 1.0), 0, None),
        ((1.0, 1.02), (1.0, 1.0), 0, FASTER),
        ((1.0, 3.0), (1.0, 1.0), 2, FASTER),
        ((1.0, 10.5), (1.0, 1.0), 0, SLOWER),
        ((1.0, 3.0), (1.0, 1.4), 2, SLOWER),
    )
    for forget, kept, begins, factor in cases:
        run = effect(*forget, kept=kept, begins=(4, begins))
        found = judged(run.to_json())
        assert found.factor == factor, forget
        assert bool(run.cautions()) == (found.factor is not None), forget
        assert found.short == (forget[1] < 1.05 or begins > 0)
    assert judged({}).factor is None, "a run that measured nothing"
