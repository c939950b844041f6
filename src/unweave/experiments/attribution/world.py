"""A scene with a model that was trained on it, recorded, so that it can be scored and trained again without some rows.

Retraining repeats the recorded steps: a row that is left out is missing from its steps, and all others keep their place, so that what changes is the row and
not the order. For the linear datamodelling score orders are new ones, as the score is about any training.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors.numpy import load_file, save_file

from unweave import progress
from unweave.attribution.visits import visit_rows
from unweave.config import part_of
from unweave.data.config import AS_WRITTEN
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.digests import content_digest
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.registry import SCENES
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.attribution.scoring import Scoring
from unweave.files import remembered, write_jsonl
from unweave.gradients.scoring import example_losses
from unweave.models.loading import ModelConfig, held, load
from unweave.models.model import Model
from unweave.registry import entry
from unweave.replacing import replacing
from unweave.run.identity import identity_digest
from unweave.train.config import TrainConfig
from unweave.train.loop import plan_epochs
from unweave.train.replay import Replay, Run, open_run
from unweave.train.sft import fine_tune
from unweave.train.states import State


class TrainedWorld:
    """A world of the suite. All that it makes is written the moment it is there.

    Args:
        config: The suite's.
        scene: Name of the scene.
        seed: Of rows and training.
        folder: Where models and stores lie for as long as they are needed.
        parts: Where figures are kept.
        identity: What they depend on.
    """

    def __init__(
        self,
        config: AttributionBenchConfig,
        scene: str,
        seed: int,
        *,
        folder: Path,
        parts: Path,
        identity: dict[str, Any],
    ):
        self.config, self.name, self.seed, self.folder, self.parts = config, scene, seed, folder, parts
        self.scene: Scene = entry(SCENES, scene, option="scene")(config, seed)
        self.identity = identity | {"scene": scene, "seed": seed}
        self.top_k = min(config.top_k, len(self.scene.rows))

    # What is kept.

    def part(self, name: str, compute: Callable[[], Any]) -> Any:
        """What was computed before, or the computation.

        Args:
            name: A path below the world's parts, without its ending.
            compute: Makes it, as JSON holds it.

        Returns:
            The value.
        """
        return remembered(self.parts / f"{name}.json", self.identity, compute, key="value", what="A figure")

    # The trained model.

    @cached_property
    def trained(self) -> Path:
        """The folder of the recorded training."""
        rows, own = self.folder / "rows.jsonl", self.config
        write_jsonl(rows, [row.to_record() for row in self.scene.rows])
        base: Any = part_of(ModelConfig, own).__dict__ | part_of(EncodingConfig, own).__dict__
        options: Any = {
            name: getattr(own, name) for name in ("lora_r", "epochs", "batch_size", "learning_rate", "record_states")
        }
        config = TrainConfig(
            **base, **options, **AS_WRITTEN, data=rows, output_dir=self.folder / "trained", record=True, lora_alpha=own.lora_r,
            lora_dropout=0.0, seed=self.seed,
        )  # fmt: skip
        progress.say(f"{self.name}, seed {self.seed}: train on {len(self.scene.rows)} rows")
        fine_tune(config)
        return config.output_dir

    @cached_property
    def loaded(self) -> Model:
        """The trained model."""
        return load(held(self.config, str(self.trained)))

    @cached_property
    def run(self) -> Run:
        """The recorded run, to be repeated."""
        return open_run(self.trained)[0]

    @cached_property
    def scoring(self) -> Scoring:
        """What asks the scorers."""
        return Scoring(self.config, self.scene, self.trained, self.folder, self.loaded)

    @cached_property
    def asked(self) -> list[Example]:
        """The queries' tokens."""
        return encode_rows(self.scene.queries, self.loaded.tokenizer, part_of(EncodingConfig, self.config)).examples

    def losses(self) -> Float[np.ndarray, " q"]:
        """The queries' losses, in nats a token, under the run's model as it is."""
        found = example_losses(self.run.model, self.asked, pad_token_id=self.run.pad_token_id)
        return np.array(found.means())

    # Retraining.

    def _repeated(self, steps: Sequence[Sequence[int]], keep: set[int]) -> Float[np.ndarray, " q"]:
        own = [[place for place in step if place in keep] for step in steps]
        kept = [(step, rate) for step, rate in zip(own, self.run.rates, strict=True) if step]
        run = replace(self.run, steps=[step for step, _ in kept], rates=[rate for _, rate in kept], record=None)
        Replay(run).until(len(kept))
        return self.losses()

    def halves(self) -> list[list[int]]:
        """Places of half of the rows, one list a model."""
        count = len(self.scene.rows)
        rng = random.Random(f"halves {self.seed}")
        return [sorted(rng.sample(range(count), count // 2)) for _ in range(self.config.subsets)]

    def half_losses(self) -> Float[np.ndarray, "o m q"]:
        """Losses of the retrained halves; each is kept the moment it is there."""
        halves, orders = self.halves(), self.config.orders
        found = np.zeros((orders, len(halves), len(self.scene.queries)))
        with progress.task(f"{self.name}, seed {self.seed}: retrain halves", orders * len(halves)) as advance:
            for turn in range(orders):
                for number, half in enumerate(halves):

                    def retrain(turn: int = turn, number: int = number, half: list[int] = half) -> list[float]:
                        lengths = [len(example) for example in self.run.examples]
                        own = self.config
                        order = plan_epochs(
                            lengths, batch_size=own.batch_size, epochs=own.epochs, seed=1000 * (turn + 1) + number
                        )
                        return self._repeated(order, set(half)).tolist()

                    found[turn, number] = self.part(f"halves/{turn}-{number:03d}", retrain)
                    advance(1)
        return found

    def losses_without(self, places: Sequence[int]) -> Float[np.ndarray, " q"]:
        """Losses after the recorded training without some rows.

        Args:
            places: Of the rows.

        Returns:
            One a query.
        """
        left = sorted(set(places))
        keep = set(range(len(self.scene.rows))) - set(left)
        name = identity_digest({"without": left})[:16]
        return np.array(self.part(f"without/{name}", lambda: self._repeated(self.run.steps, keep).tolist()))

    def retrain_queries(self) -> list[int]:
        """The first queries of each kind in turn, as they come."""
        count = len(self.scene.queries)
        step = max(1, count // max(1, self.config.retrain_queries))
        return list(range(0, count, step))[: self.config.retrain_queries]

    def removed_shares(self) -> list[float]:
        """As configured."""
        return list(self.config.removed_shares)

    def random_draws(self, count: int) -> list[list[int]]:
        """Random rows, the same for every scorer.

        Args:
            count: Rows of each draw.

        Returns:
            Places.
        """
        rng = random.Random(f"random {self.seed} {count}")
        return [sorted(rng.sample(range(len(self.scene.rows)), count)) for _ in range(max(2, self.config.random_draws))]

    # One more step.

    def patched(self) -> Float[np.ndarray, "q n"]:
        """Changes of log-probability by one more step on each row, kept once they are there."""
        path = self.parts / "patched.safetensors"
        stamp = identity_digest(self.identity)
        if not path.is_file() or (kept := load_file(path)).keys() != {stamp}:
            kept = {stamp: self._patch()}
            with replacing(path) as temporary:
                save_file(kept, temporary)
        return kept[stamp]

    def _patch(self) -> Float[np.ndarray, "q n"]:
        run = self.run
        assert run.record is not None, "it was recorded"
        end: State = run.record.state(max(run.record.states))
        shape = end.preconditioner(beta=run.options.beta2, epsilon=run.options.epsilon)
        # The second moments are of the mean gradients of whole steps, clipped: more than a row's share of one would be a step of another size.
        count, rate, most = len(run.examples), max(run.rates) / self.config.batch_size, run.options.max_grad_norm
        found = np.zeros((len(self.asked), count))
        run.load(end)
        before = self.losses()
        with progress.task(f"{self.name}, seed {self.seed}: one step on each row", count) as advance:
            for place in range(count):
                tokens = run.examples[place].completion_length
                step: dict[str, torch.Tensor] = {}

                def take(_: list[int], name: str, piece: torch.Tensor, step: dict[str, torch.Tensor] = step) -> None:
                    step[name] = piece[0]

                visit_rows(run, end, take, places=[place])
                norm = float(
                    torch.stack([piece.double().square().sum() for piece in step.values()]).sum().sqrt()
                ) / max(tokens, 1)
                kept = rate / max(tokens, 1) * (min(1.0, most / max(norm, 1e-12)) if most > 0 else 1.0)
                moved = {
                    name: own - kept * shape[name] * step[name].view_as(own) for name, own in end.parameters.items()
                }
                run.load(replace(end, parameters=moved))
                found[:, place] = before - self.losses()
                advance(1)
        run.load(end)
        return found

    # Scores.

    def scored(self, scorer: str, *, itself: bool = False) -> dict[str, Any]:
        """A scorer's scores of all rows for all queries, with what they took.

        Args:
            scorer: Its name.
            itself: Each row's score of itself, with a single query, in their place.

        Returns:
            `scores`, `seconds`, `peak_mib`, `bytes`.
        """
        name = f"scores/{scorer}{self.stamp(scorer)}"
        return self.part(name, lambda: self.scoring.scored(scorer, itself=itself).to_json())

    def varied(self, scorer: str, variation: str) -> Float[np.ndarray, "q n"] | None:
        """A scorer's scores under a change.

        Args:
            scorer: Its name.
            variation: One of `unweave.experiments.attribution.scoring.VARIATIONS`.

        Returns:
            The scores in the order of the rows; `None` where the change does not apply.
        """
        found = self.part(f"varied/{variation}-{scorer}", lambda: self.scoring.varied(scorer, variation))
        return None if found is None else np.array(found)

    def stamp(self, scorer: str) -> str:
        """What sets a peer's figures apart: its command, and the script that this names.

        Args:
            scorer: The name.

        Returns:
            An ending of names; empty for scorers of our own.
        """
        command = (self.config.peers or {}).get(scorer)
        if command is None:
            return ""
        words = [identity_digest({"command": command})]
        words += [
            content_digest(Path(word)) for word in command.split() if word.endswith(".py") and Path(word).is_file()
        ]
        return "-" + identity_digest({"peer": words})[:12]
