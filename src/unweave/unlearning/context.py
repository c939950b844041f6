"""What a method works on. It stands outside of `methods`, so that what methods are made of does not import them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from unweave.models.loading import Loaded
from unweave.unlearning.config import UnlearnOptions
from unweave.unlearning.rows import ForgetRow


@dataclass(frozen=True)
class Context:
    """What a method knows of a run.

    Attributes:
        loaded: The model, its trainable parameters marked.
        rows: All forget and retain rows.
        options: Those of the run.
        target: The loss that the forget rows are to reach, in nats a token.
        limits: The loss from which on a forget row counts no more in a step, in nats a token, by the row's id.
        prepared: What the method's own `prepare` has found out.
        kept: What `once` has computed.
    """

    loaded: Loaded
    rows: Sequence[ForgetRow]
    options: UnlearnOptions = UnlearnOptions()  # noqa: RUF009  # frozen
    target: float | None = None
    limits: Mapping[str, float] | None = None
    prepared: Any = None
    kept: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Something that a method computes once in a run.

        Args:
            name: Its name.
            make: Computes it.

        Returns:
            What `make` gave the first time.
        """
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]
