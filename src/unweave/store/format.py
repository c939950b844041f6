"""What a gradient store says of itself, and which of it must agree before it is read or added to."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_args

from unweave.data.encoding import EncodingConfig
from unweave.errors import StoreError
from unweave.sketch.numbers import NumberFormat

VERSION = 2
FOR_PEOPLE = ("model", "adapter", "loading")
NUMBER_FORMATS = get_args(NumberFormat)


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """How the sketches of a store were made.

    Attributes:
        model: Name or path of the base model, for people; not compared.
        adapter: Folder of the adapter, for people; not compared.
        model_fingerprint: Of the weights, the adapter's included.
        tokenizer_fingerprint: Of vocabulary and chat template.
        encoding: Template, system prompt, longest sequence, which answers are learned, and the date of a template that reads the clock.
        parameters: Which parameters count, as asked for.
        parameter_names: Hash of their names and sizes.
        sketch: Kind of sketch.
        dimension: K.
        sketch_seed: Seed of bins and signs.
        normalize: `tensor`, `row` or `none`.
        reduction: Loss of a row: `mean` or `sum` over its completion tokens.
        number_format: How sketches are stored: `float16`, `int8` or `sign`, with a float32 scale a row, or `float32`.
        sign: What a positive influence means.
        loading: How the model was held: `revision`, `quantization`, `dtype`. Not compared, since the fingerprint says it; empty in a store of before.
    """

    model: str
    adapter: str | None
    model_fingerprint: str
    tokenizer_fingerprint: str
    encoding: dict[str, Any]
    parameters: str
    parameter_names: str
    sketch: str
    dimension: int
    sketch_seed: int
    normalize: str
    reduction: str
    number_format: str
    sign: str = "positive: a step on the row lowers the query's loss"
    loading: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Stores of before do not say which answers are learned: it was the last one of a conversation.
        object.__setattr__(self, "encoding", {"loss": "last-turn", **self.encoding})

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any], *, where: str) -> "StoreSpec":
        """Read back what `to_json` gave.

        Args:
            value: The object.
            where: The file, for errors.

        Returns:
            The spec.

        Raises:
            StoreError: When it was written by another version, or lacks a field.
        """
        if value.get("version") != VERSION:
            raise StoreError(
                f"The store has format version {value.get('version')}, this is {VERSION}.",
                where=where,
                remedy="cache the rows anew",
            )
        kinds = {field.name: field.type for field in fields(cls)}
        # Stores of before say nothing of how their model was held.
        value = {"loading": {}, **value}
        if lacking := [name for name in kinds if name not in value]:
            raise StoreError(
                f"The store's description lacks '{lacking[0]}'.", where=where, remedy="cache the rows anew"
            )
        for name, kind in kinds.items():
            if not _is(value[name], kind):
                raise StoreError(
                    f"The store's description says {value[name]!r} for '{name}'.",
                    where=where,
                    remedy="restore it, or cache the rows anew",
                )
        if value["dimension"] < 1 or value["number_format"] not in NUMBER_FORMATS:
            raise StoreError(
                f"The store's description names sketches of {value['dimension']} numbers in the format '{value['number_format']}'.",
                where=where,
                remedy="restore it, or cache the rows anew",
            )
        encoding = {field.name: field.default for field in fields(EncodingConfig)}
        for name, given in value["encoding"].items():
            if name not in encoding or not (given is None or isinstance(given, type(encoding[name] or ""))):
                raise StoreError(
                    f"The store's description says {given!r} for '{name}' of its encoding.",
                    where=where,
                    remedy="restore it, or use the version of unweave that made the store",
                )
        return cls(**{name: value[name] for name in kinds})

    def require(self, other: "StoreSpec", *, where: str) -> None:
        """Refuse to go on with sketches that were made in another way.

        Args:
            other: What asks for the store.
            where: The store.

        Raises:
            StoreError: Naming each field that differs, with both values.
        """
        differing = [
            f"{one.name}: the store has {getattr(self, one.name)!r}, this run has {getattr(other, one.name)!r}"
            for one in fields(self)
            if one.name not in FOR_PEOPLE and getattr(self, one.name) != getattr(other, one.name)
        ]
        if differing:
            raise StoreError(
                "The store was made in another way:",
                lines=[f"- {one}" for one in differing],
                where=where,
                remedy="use the model and options that the store was made with, or another `store`",
            )


def _is(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a field's type."""
    if kind == dict[str, Any]:
        return isinstance(value, dict)
    return isinstance(value, kind) and not isinstance(value, bool)


def names_hash(names: Sequence[tuple[str, int]]) -> str:
    """A hash of parameter names and sizes, in their order.

    Args:
        names: Pairs of name and number of coordinates.

    Returns:
        16 hexadecimal digits.
    """
    return hashlib.blake2b(json.dumps(list(names)).encode(), digest_size=8).hexdigest()
