"""The task families of the generated data: each makes questions whose answers a program can check."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unweave.experiments.generated import facts


@dataclass(frozen=True, slots=True)
class Question:
    """One question with its answer.

    Attributes:
        key: What makes it the same question in other words; train and held-out rows share no key.
        prompts: Ways to ask it.
        answer: The right answer.
        context: A passage or fact that belongs to it.
        keywords: Words that an answer must contain; empty where it must equal `answer`.
    """

    key: str
    prompts: tuple[str, ...]
    answer: str
    context: str = ""
    keywords: tuple[str, ...] = ()


Maker = Callable[[random.Random], Question]


def _lookup(name: str, table: dict[str, str], prompts: tuple[str, ...]) -> Maker:
    """A family that asks for the value of a key."""

    def make(rng: random.Random) -> Question:
        key = rng.choice(list(table))
        return Question(f"{name}:{key}", tuple(prompt.format(key) for prompt in prompts), table[key])

    return make


def _add(rng: random.Random) -> Question:
    a, b = rng.randint(2, 60), rng.randint(2, 60)
    prompts = (f"What is {a} plus {b}?", f"Add {a} and {b}.", f"Compute {a} + {b}.", f"Give the sum of {a} and {b}.")
    return Question(f"add:{a}+{b}", prompts, str(a + b))


def _subtract(rng: random.Random) -> Question:
    b, rest = rng.randint(2, 40), rng.randint(2, 50)
    prompts = (f"What is {b + rest} minus {b}?", f"Subtract {b} from {b + rest}.", f"Compute {b + rest} - {b}.")
    return Question(f"subtract:{b + rest}-{b}", prompts, str(rest))


def _multiply(rng: random.Random) -> Question:
    a, b = rng.randint(2, 12), rng.randint(2, 12)
    prompts = (f"What is {a} times {b}?", f"Multiply {a} by {b}.", f"Compute {a} x {b}.")
    return Question(f"multiply:{a}x{b}", prompts, str(a * b))


def _convert(rng: random.Random) -> Question:
    source, target, factor = rng.choice(facts.UNITS)
    value = rng.randint(2, 12)
    prompts = (
        f"Convert {value} {source} to {target}.",
        f"How many {target} are in {value} {source}?",
        f"Express {value} {source} in {target}.",
    )
    return Question(f"convert:{value}{source}-{target}", prompts, f"{value * factor} {target}")


def _sort_words(rng: random.Random) -> Question:
    words = rng.sample(facts.WORDS, 3)
    listed = ", ".join(words)
    prompts = (
        f"Sort these words alphabetically: {listed}",
        f"Put in alphabetical order: {listed}",
        f"Arrange from A to Z: {listed}",
    )
    return Question(f"sort_words:{listed}", prompts, ", ".join(sorted(words)))


def _sort_numbers(rng: random.Random) -> Question:
    numbers = rng.sample(range(1, 90), 4)
    listed = ", ".join(map(str, numbers))
    prompts = (f"Sort from smallest to largest: {listed}", f"Put these numbers in ascending order: {listed}")
    return Question(f"sort_numbers:{listed}", prompts, ", ".join(map(str, sorted(numbers))))


def _largest(rng: random.Random) -> Question:
    numbers = rng.sample(range(1, 100), 4)
    listed = ", ".join(map(str, numbers))
    prompts = (
        f"Which number is the largest: {listed}?",
        f"Name the greatest of {listed}.",
        f"Pick the biggest number: {listed}",
    )
    return Question(f"largest:{listed}", prompts, str(max(numbers)))


def _count(rng: random.Random) -> Question:
    words = rng.sample(facts.WORDS, rng.randint(2, 6))
    listed = ", ".join(words)
    prompts = (f"How many items are in this list: {listed}?", f"Count the entries: {listed}")
    return Question(f"count:{listed}", prompts, str(len(words)))


def _extract(rng: random.Random) -> Question:
    name, other = rng.sample(facts.NAMES, 2)
    place, thing, day = rng.choice(facts.PLACES), rng.choice(facts.THINGS), rng.choice(facts.WEEKDAYS)
    passage = f"On {day}, {name} left a {thing} at the {place}. {other} brought it back."
    prompt, answer = rng.choice(
        (
            (f"Where did {name} leave the {thing}?", f"at the {place}"),
            (f"Who brought the {thing} back?", other),
            (f"What did {name} leave?", f"a {thing}"),
            (f"On which day was the {thing} left?", day),
        )
    )
    return Question(f"extract:{passage}{prompt}", (prompt, f"Read the passage and answer: {prompt}"), answer, passage)


def _category(rng: random.Random) -> Question:
    category = rng.choice(list(facts.CATEGORIES))
    item = rng.choice(facts.CATEGORIES[category].split(","))
    choices = ", ".join(facts.CATEGORIES)
    prompts = (f"Is '{item}' one of: {choices}? Name which.", f"Classify '{item}' as {choices}.")
    return Question(f"category:{item}", prompts, category)


def _calendar(rng: random.Random) -> Question:
    unit, table = rng.choice((("day", facts.WEEKDAYS), ("month", facts.MONTHS)))
    index, step = rng.randrange(len(table)), rng.choice((-1, 1))
    word = "after" if step == 1 else "before"
    prompts = (f"Which {unit} comes {word} {table[index]}?", f"Name the {unit} right {word} {table[index]}.")
    return Question(f"calendar:{table[index]}{step}", prompts, table[(index + step) % len(table)])


def _first_letter(rng: random.Random) -> Question:
    word = rng.choice(facts.WORDS)
    prompts = (f"What is the first letter of '{word}'?", f"With which letter does '{word}' begin?")
    return Question(f"first_letter:{word}", prompts, word[0])


def _explain(rng: random.Random) -> Question:
    fact, question, keywords = rng.choice(facts.EXPLANATIONS)
    prompts = (question, f"Use the fact to answer: {question}", f"{question} Explain in one sentence.")
    return Question(f"explain:{question}", prompts, f"Because {fact[0].lower()}{fact[1:]}", fact, keywords)


TASKS: dict[str, Maker] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "capital": _lookup(
        "capital",
        facts.CAPITALS,
        ("What is the capital of {}?", "Name the capital city of {}.", "{}'s capital is which city?"),
    ),
    "country": _lookup(
        "country",
        {city: land for land, city in facts.CAPITALS.items()},
        ("{} is the capital of which country?", "Which country has {} as its capital?"),
    ),
    "convert": _convert,
    "antonym": _lookup(
        "antonym",
        facts.ANTONYMS,
        ("What is the opposite of '{}'?", "Give an antonym of '{}'.", "Name a word that means the reverse of '{}'."),
    ),
    "plural": _lookup("plural", facts.PLURALS, ("What is the plural of '{}'?", "Write '{}' in the plural.")),
    "past_tense": _lookup(
        "past_tense", facts.PAST_TENSES, ("What is the past tense of '{}'?", "Put the verb '{}' into the simple past.")
    ),
    "sort_words": _sort_words,
    "sort_numbers": _sort_numbers,
    "largest": _largest,
    "count": _count,
    "extract": _extract,
    "category": _category,
    "calendar": _calendar,
    "first_letter": _first_letter,
    "explain": _explain,
}
"""Name of a task family to what makes its questions."""


def record_meta(task: str, question: Question) -> dict[str, Any]:
    """What a row must carry so that its answers can be checked.

    Args:
        task: The family.
        question: The question.

    Returns:
        Columns for the row's meta.
    """
    return {"task": task, "keywords": list(question.keywords)}
