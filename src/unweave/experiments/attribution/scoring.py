"""Asking scorers: each through a store of the trained model and the search of `unweave trace`, with what it takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from unweave import progress
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.targets import AnswerLoss
from unweave.attribution.tracing import trace_rows
from unweave.attribution.trained import estimator, of_record
from unweave.config import part_of
from unweave.data.config import AS_WRITTEN
from unweave.data.encoding import EncodingConfig, encode_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.errors import ConfigError, nearest
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.peak import bytes_below, measured
from unweave.experiments.attribution.peers import peer_scores
from unweave.experiments.attribution.scene import Scene
from unweave.experiments.attribution.scorers import Way, ways
from unweave.models.adapters import adapter_parameters
from unweave.models.loading import held, load
from unweave.models.model import Model
from unweave.sketch.config import Normalize
from unweave.store.store import GradientStore
from unweave.train.record import RECORD
from unweave.train.states import State

VARIATIONS = {
    "randomised": "the adapter's weights replaced by random ones of the same size",
    "batch": "an eighth of the tokens a batch",
    "seed": "other seeds of the sketch, of sampled labels and of random numbers",
    "order": "the rows in the reverse order",
}
"""What is changed, and how."""
TOKENS = 1024
SELF_BLOCK = 64
"""Rows at once whose scores of themselves are looked at."""


@dataclass(frozen=True)
class Scored:
    """Scores with what they took.

    Attributes:
        scores: One a query and row.
        seconds: Of scoring, and of caching what it reads.
        cpu_seconds: The same of the processor; of a peer, which is a process of its own, not known.
        peak_mib: The largest resident memory.
        bytes: On the disk, of what it reads.
    """

    scores: Float[np.ndarray, "q n"]
    seconds: float
    cpu_seconds: float
    peak_mib: float
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {**self.__dict__, "scores": np.asarray(self.scores).tolist()}


class Scoring:
    """The scorers of one world.

    Args:
        config: The suite's.
        scene: Rows and queries.
        trained: The folder of the recorded training.
        folder: For stores.
        loaded: The trained model.
    """

    def __init__(self, config: AttributionBenchConfig, scene: Scene, trained: Path, folder: Path, loaded: Model):
        self.config, self.scene, self.trained, self.folder, self.loaded = config, scene, trained, folder, loaded
        self._took: dict[str, tuple[float, float]] = {}
        self._stores: dict[Path, GradientStore] = {}

    def scored(self, scorer: str, *, itself: bool = False) -> Scored:
        """Ask a scorer.

        Args:
            scorer: Its name, or that of a peer.
            itself: Whether for each row's score of itself, in place of the queries'.

        Returns:
            The scores.

        Raises:
            ConfigError: When there is none of that name.
        """
        peers = self.config.peers or {}
        if scorer in peers:
            found = measured(lambda: self._peer(scorer, peers[scorer], itself=itself))
            return Scored(found.value, found.seconds, float("nan"), float("nan"), 0)
        way = _way(scorer)
        store = self.store(way.normalize)
        found = measured(lambda: self._asked(store, self.loaded, way.options, itself=itself))
        took, busy = self._took.get(way.normalize, (0.0, 0.0)) if way.reads == "store" else (0.0, 0.0)
        size = {"store": store.info()["bytes"], "record": bytes_below(self.trained / RECORD), "texts": 0}[way.reads]
        return Scored(found.value, found.seconds + took, found.cpu_seconds + busy, found.peak_mib, size)

    def store(
        self, normalize: Normalize, name: str = "", *, rows: Any = None, loaded: Any = None, **options: Any
    ) -> GradientStore:
        """A store of the rows' gradients.

        Args:
            normalize: Of the gradients.
            name: What sets it apart from others with that normalisation.
            rows: The rows, where they are others than the scene's.
            loaded: The model, likewise.
            options: Of the sketch, where they are others.

        Returns:
            The store, made where it is not there.
        """
        own = self.config
        place = self.folder / "stores" / f"{normalize}{name}"
        if place in self._stores:
            return self._stores[place]
        given: Any = {"dimension": own.dimension, "token_budget": TOKENS, "number_format": "float32", **options}
        encoding: Any = part_of(EncodingConfig, own).__dict__
        config = CacheConfig(
            **given, **encoding, **AS_WRITTEN, data=self.folder / "rows.jsonl", store=place, normalize=normalize
        )
        if not self._stores:
            # What is imported and compiled at the first use is no scorer's cost.
            with progress.silent():
                cache_rows(
                    replace(config, store=self.folder / "stores" / "warm"),
                    loaded=self.loaded,
                    rows=list(self.scene.rows[:4]),
                )
        begun = measured(lambda: cache_rows(config, loaded=loaded or self.loaded, rows=list(rows or self.scene.rows)))
        if not name:
            self._took[normalize] = (begun.seconds, begun.cpu_seconds)
        self._stores[place] = GradientStore.open(place)
        return self._stores[place]

    def _asked(
        self, store: GradientStore, loaded: Model, options: Mapping[str, Any], *, itself: bool = False, seed: int = 0
    ) -> Float[np.ndarray, "q n"]:
        own = self.config
        config = RetrievalConfig(
            **{"damping": None if "estimator" in options else own.damping, **options},
            encoder=own.encoder, fit_rows=own.fit_rows, seed=seed, training=self.trained if "estimator" in options else None,
        )  # fmt: skip

        def ask(queries: list[Row]) -> Float[np.ndarray, "q n"]:
            found = trace_rows(store, loaded, queries, config)
            assert found.scores is not None, "a trace keeps the scores of all rows"
            place = {row_id: index for index, row_id in enumerate(found.row_ids)}
            return found.scores[:, [place[row.id] for row in self.scene.rows]].double().numpy()

        if not itself:
            return ask(list(self.scene.queries))
        rows, found = list(self.scene.rows), []
        for start in range(0, len(rows), SELF_BLOCK):
            block = ask(rows[start : start + SELF_BLOCK])
            found += [block[index, start + index] for index in range(len(block))]
        return np.array(found)[None]

    def _peer(self, name: str, command: str, *, itself: bool) -> Float[np.ndarray, "q n"]:
        encoding = part_of(EncodingConfig, self.config)
        rows, asked = (
            encode_rows(part, self.loaded.tokenizer, encoding).examples
            for part in (self.scene.rows, self.scene.queries)
        )
        dtype = str(self.loaded.model.dtype).removeprefix("torch.")
        found = peer_scores(
            name, command, self.folder, base=self.loaded.base, adapter=self.trained, dtype=dtype, rows=rows, queries=rows if itself else asked
        )  # fmt: skip
        return np.diagonal(found)[None] if itself else found

    # Changes that should matter, and that should not.

    def varied(self, scorer: str, variation: str) -> list[list[float]] | None:
        """Scores under a change.

        Args:
            scorer: Its name.
            variation: In `VARIATIONS`.

        Returns:
            The scores; `None` where the change does not apply to it.
        """
        if scorer in (self.config.peers or {}):
            return None
        way = _way(scorer)
        through = way.options.get("estimator")
        made: dict[str, Callable[[], Float[np.ndarray, "q n"] | None]] = {
            "randomised": lambda: self._at_random_states(through) if through else self._randomised(way),
            "batch": lambda: self._varied(way, "-batch", token_budget=TOKENS // 8),
            "seed": lambda: self._varied(way, "-seed", seed=1, sketch_seed=7),
            "order": lambda: self._varied(way, "-order", rows=self.scene.rows[::-1]),
        }
        # A recorded training has its own batches and order, and unrolling it neither sketches nor samples.
        nothing = variation in ("batch", "order") or (variation == "seed" and through != "segments")
        found = None if through and nothing else made[variation]()
        return None if found is None else found.tolist()

    def _varied(
        self, way: Way, name: str, *, seed: int = 0, rows: Any = None, **options: Any
    ) -> Float[np.ndarray, "q n"]:
        # Curvature is fitted in batches of the store's size, so that the whole way is another.
        store = self.store(way.normalize, name, rows=rows, **options)
        return self._asked(store, self.loaded, way.options, seed=seed)

    @cached_property
    def _random_model(self) -> Model:
        """The model with random numbers in the place of its adapter's."""
        loaded = load(held(self.config, str(self.trained)))
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in adapter_parameters(loaded.model).values():
                parameter.copy_(_random_like(parameter, generator))
        return replace(loaded, adapter=None)

    def _randomised(self, way: Way) -> Float[np.ndarray, "q n"]:
        store = self.store(way.normalize, "-randomised", loaded=self._random_model)
        return self._asked(store, self._random_model, way.options)

    def _at_random_states(self, name: str) -> Float[np.ndarray, "q n"] | None:
        """Through training, at random parameters in the place of the snapshots'. An unrolled run finds its states by itself, from rows: it has none."""
        if name == "unrolled":
            return None
        trained = of_record(self.trained)
        generator = torch.Generator().manual_seed(1)
        states = [
            State(
                state.step,
                {name: _random_like(own, generator) for name, own in state.parameters.items()},
                state.first,
                state.second,
            )
            for state in trained.snapshots
        ]
        trained = replace(trained, snapshots=states, fit_rows=self.config.fit_rows)
        pad = trained.run.pad_token_id
        asked = encode_rows(self.scene.queries, self.loaded.tokenizer, part_of(EncodingConfig, self.config)).examples
        found = estimator(name)(trained, [AnswerLoss(example, pad) for example in asked]).numpy()
        place = {example.row_id: index for index, example in enumerate(trained.run.examples)}
        return found[:, [place[row.id] for row in self.scene.rows]]


def _random_like(values: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normal numbers with the same mean square."""
    size = values.detach().double().square().mean().sqrt()
    return (torch.randn(values.shape, generator=generator, dtype=torch.float64) * size).to(values)


def _way(scorer: str) -> Way:
    found = ways()
    if scorer not in found:
        raise ConfigError(f"'{scorer}' is no scorer.", where="`scorers`", remedy=nearest(scorer, tuple(found)))
    return found[scorer]
