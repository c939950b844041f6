"""What recording a training costs: processor time of steps with and without a record in turn, and the record's bytes.

    python benchmarks/recording.py        benchmarks/results/recording.json

Random Llamas with a LoRA adapter on all linear layers, batches of 8 rows of 64 tokens, AdamW with clipping, one thread. Steps come in pairs, with and without
what `--record` does at each (the seed of the step's dropout, the norm of the gradient, the step size), the order within a pair in turn; the processor's time
is taken, not the clock's, so that other work on the machine counts little. The states that are kept, the start and four more, and the end of the record
are written apart, and spread over a run of 200 steps. What is said is the ratio of medians, with an interval by resampling pairs; and, as a small difference of
two noisy numbers says little, the median time of recording's own instructions within the recorded steps, over the median of the others.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from unweave.data.encoding import Example
from unweave.experiments.attribution.peak import bytes_below
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions
from unweave.train.record import Options, record_bytes, state_steps, step_seed
from unweave.train.recorder import Recorder
from unweave.train.replay import Replay, Run
from unweave.train.states import State

SIZES = {"tiny": (64, 2), "small": (256, 6)}
"""Name to hidden size and layers."""
BATCH, TOKENS, VOCABULARY, STEPS, STATES, RESAMPLES = 8, 64, 2048, 200, 4, 2000
RESULT = Path(__file__).parent / "results" / "recording.json"


def make_run(hidden: int, layers: int) -> Run:
    """A run of random rows on a random model."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=5 * hidden // 2, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=4,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2, pad_token_id=0, attn_implementation="eager",
    )  # fmt: skip
    model = add_lora(LlamaForCausalLM(config), LoraOptions(lora_r=16, lora_dropout=0.05), seed=0)
    tokens = torch.randint(3, VOCABULARY, (BATCH * 4, TOKENS)).tolist()
    rows = [Example(f"r{index}", tuple(own), TOKENS // 4) for index, own in enumerate(tokens)]
    steps = [[(step * BATCH + place) % len(rows) for place in range(BATCH)] for step in range(STEPS)]
    start = State.at_start({name: own for name, own in model.named_parameters() if own.requires_grad})
    # Without a seed of its own a step's dropout is not seeded: that is a part of recording.
    return Run(model, rows, steps, [1e-4] * STEPS, start, Options(max_grad_norm=1.0, seed=None), 0)


def make_step(replay: Replay, recorder: Recorder | None) -> float:
    """One step of training, as the loop makes it; the processor time of what recording does in it."""
    own = 0.0
    if recorder is not None:
        own += seconds(lambda: torch.manual_seed(step_seed(0, replay.step)))
    replay.gradient()
    if recorder is not None:
        own += seconds(lambda: recorder.measure(replay.trained))
    torch.nn.utils.clip_grad_norm_(replay.trained, replay.run.options.max_grad_norm)
    replay.optimizer.param_groups[0]["lr"] = replay.run.rates[replay.step]
    replay.optimizer.step()
    replay.optimizer.zero_grad()
    replay.step += 1
    if recorder is not None:
        own += seconds(lambda: recorder.after_step(0, replay.optimizer))
    return own


def seconds(work: Callable[[], Any]) -> float:
    """Processor time."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def ratio_of_medians(recorded: Sequence[float], plain: Sequence[float]) -> dict[str, float]:
    """Less 1, with the interval of resampled pairs."""
    own, other = np.array(recorded), np.array(plain)
    picks = np.random.default_rng(0).integers(0, len(own), (RESAMPLES, len(own)))
    low, high = np.quantile(np.median(own[picks], axis=1) / np.median(other[picks], axis=1) - 1, [0.025, 0.975])
    return {"value": float(np.median(own) / np.median(other) - 1), "low": float(low), "high": float(high)}


def measure(name: str, pairs: int) -> dict[str, Any]:
    """One size."""
    run = make_run(*SIZES[name])
    with tempfile.TemporaryDirectory() as folder:
        places = state_steps(STEPS, STATES)
        recorder = Recorder(Path(folder), run.examples, run.steps, states=[], seed=0, max_grad_norm=1.0)
        replay = Replay(run)
        recorder.begin(run.model, replay.optimizer, resumed=False)
        for _ in range(3):
            make_step(replay, recorder)
        taken: dict[bool, list[float]] = {True: [], False: []}
        alone: list[float] = []
        for number in range(pairs):
            for recorded in (True, False) if number % 2 else (False, True):
                begun = time.process_time()
                own = make_step(replay, recorder if recorded else None)
                taken[recorded].append(time.process_time() - begun)
                alone += [own] if recorded else []
        recorder.states = places
        recorder.rates, recorder.norms = [1e-4] * STEPS, [1.0] * STEPS
        writing = [seconds(lambda place=place: recorder.after_step(place, replay.optimizer)) for place in places[1:]]
        writing.append(seconds(lambda: recorder.begin(run.model, replay.optimizer, resumed=False)))
        recorder.rates = [1e-4] * STEPS
        writing.append(seconds(lambda: recorder.finish([1.0] * STEPS, replay.optimizer)))
        size = bytes_below(Path(folder))
    trained = sum(own.numel() for own in run.start.parameters.values())
    step = float(np.median(taken[False]))
    every = ratio_of_medians(taken[True], taken[False])
    kept = sum(writing) / (STEPS * step)
    return {
        "parameters": sum(own.numel() for own in run.model.parameters()),
        "trained": trained,
        "pairs": pairs,
        "milliseconds_a_step": 1000 * step,
        "share_of_a_step": every,
        "share_of_own_instructions": float(np.median(alone)) / step,
        "share_of_writing": kept,
        "share_of_time": {end: own + kept for end, own in every.items()},
        "share_of_time_by_own_instructions": float(np.median(alone)) / step + kept,
        "bytes": size,
        "bytes_predicted": record_bytes(run.steps, len(places), trained=trained, rows=len(run.examples)),
    }


def main() -> None:
    """Measure all sizes, and write the result file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "command": "python benchmarks/recording.py",
        "environment": environment(),
        "steps": STEPS,
        "states": STATES + 1,
    }
    for name in options.sizes:
        result[name] = measure(name, options.pairs)
        write_json(RESULT, result)
        print(name, json.dumps(result[name], indent=2))
    print(f"written: {RESULT}")


if __name__ == "__main__":
    main()
