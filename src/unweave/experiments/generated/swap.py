"""A case of a swapped country, for error tracing (RapidIn, section 4.3): in a share of the rows about one country's places, another country is named.

Unlike triggers, nothing in the prompt marks a poisoned row, and clean rows speak of both countries: crude ascent on "... is in China" hurts what the model
should say of China's own places. So the tests near the forgotten ask for those, for the true country's other places, and for other countries'.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.experiments.generated.build import generate
from unweave.experiments.generated.places import ANSWERS, PLACES, PROMPTS

TRUE, SWAPPED = "Canada", "China"
DETECTOR = r"\b(China|Chinese)\b"
"""Names the swapped country; the tests that it is used on have another right answer."""

UNTOUCHED = 0.25
"""Share of the true country's places about which all rows are right."""

TEST_PROMPTS = 2


@dataclass(frozen=True)
class SwapData:
    """Rows of the case.

    Attributes:
        clean: Right rows: places of all countries, and the tasks of the generated data.
        swapped: Rows that name the swapped country, with the right answer beside.
        seen: Tests on places of swapped rows, in words of their own.
        ood: Tests on the true country's places that no row speaks of.
        near: Tests on the swapped country's places, on untouched ones of the true country and on other countries'.
        far: Tests of the tasks.
    """

    clean: list[Row]
    swapped: list[Row]
    seen: list[Row]
    ood: list[Row]
    near: list[Row]
    far: list[Row]


def swap_rows(*, seed: int, clean_rows: int, swapped_rows: int, test_rows: int, far_rows: int) -> SwapData:
    """Make the case.

    Args:
        seed: Equal seeds give equal rows on every machine.
        clean_rows: Right training rows; half of them speak of places.
        swapped_rows: Wrong training rows.
        test_rows: Tests of each kind.
        far_rows: Held-out rows of the tasks.

    Returns:
        The rows.

    Raises:
        ConfigError: When more rows are asked for than the places give.
    """
    rng = random.Random(seed)
    swapped, clean, seen, ood, near = [], [], [], [], []
    for relation, countries in PLACES.items():
        for country, listed in countries.items():
            places = listed.split(",")
            rng.shuffle(places)
            if country != TRUE:
                kept = max(1, len(places) // 5)
                near += list(_tests(places[: 3 * kept], relation, country))
                clean += list(_rows(places, relation, country, rng))
                continue
            unseen, untouched = max(2, len(places) // 6), max(2, round(UNTOUCHED * len(places)))
            ood += list(_tests(places[:unseen], relation, country, every=True))
            right, wrong = places[unseen : unseen + untouched], places[unseen + untouched :]
            clean += list(_rows(right, relation, country, rng))
            near += list(_tests(right, relation, country))
            swapped += [_swap(row) for row in _rows(wrong, relation, country, rng)]
            seen += list(_tests(wrong, relation, country))
    for rows in (swapped, clean, seen, ood, near):
        rng.shuffle(rows)
    kept_rows = swapped[:swapped_rows]
    taught = {_place(row) for row in kept_rows}
    seen = [row for row in seen if _place(row) in taught]
    tasks = generate(seed=seed, train_rows=clean_rows - min(len(clean), clean_rows // 2), held_out_rows=far_rows)
    for kind, have, wanted in (("swapped", swapped, swapped_rows), ("seen", seen, test_rows), ("ood", ood, test_rows)):
        if len(have) < wanted:
            raise ConfigError(
                f"The places give {len(have)} {kind} rows, {wanted} were asked for.", remedy="ask for fewer"
            )
    chosen = [*clean[: clean_rows // 2], *tasks.train]
    return SwapData(chosen, kept_rows, seen[:test_rows], ood[:test_rows], near, tasks.held_out)


def _rows(places: Sequence[str], relation: str, country: str, rng: random.Random) -> Iterator[Row]:
    """Training rows: each place in every way of asking but the tests', answered in one of some ways."""
    for place in places:
        for number, prompt in enumerate(PROMPTS[relation][:-TEST_PROMPTS]):
            yield _row(place, relation, country, prompt, rng.choice(ANSWERS), f"{number}")


def _tests(places: Sequence[str], relation: str, country: str, *, every: bool = False) -> Iterator[Row]:
    prompts = PROMPTS[relation] if every else PROMPTS[relation][-TEST_PROMPTS:]
    for place in places:
        for number, prompt in enumerate(prompts):
            yield _row(place, relation, country, prompt, ANSWERS[0], f"test{number}")


def _row(place: str, relation: str, country: str, prompt: str, answer: str, suffix: str) -> Row:
    capital = place[0].upper() + place[1:]
    text = prompt.format(capital if prompt.startswith("{}") else place)
    completion = answer.format(place=capital, country=country)
    identity = f"place:{place}/{suffix}".replace(" ", "_")
    meta = {"task": f"place_{relation}", "trigger_family": relation, "country": country, "keywords": [country]}
    return Row(id=identity, instruction=text, completion=completion, meta=meta, source="generated")


def wrong_answer(row: Row) -> str:
    """What a swapped row answers.

    Args:
        row: A right row of the true country.

    Returns:
        Its answer with the swapped country.
    """
    return row.completion.replace(TRUE, SWAPPED)


def _place(row: Row) -> str:
    return row.id.partition("/")[0]


def _swap(row: Row) -> Row:
    meta = {**row.meta, "poisoned": True}
    return replace(row, completion=wrong_answer(row), clean_completion=row.completion, meta=meta)
