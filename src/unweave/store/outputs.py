"""What was made from a store and shows its rows: a store remembers the pages and files of its traces, and when rows leave it, those go too, or are named."""

from collections.abc import Collection
from pathlib import Path

from unweave import progress
from unweave.data.mentions import mentions, needles_of
from unweave.files import file_digest
from unweave.store.store import GradientStore
from unweave.store.texts import read_texts, row_of_text


def remember_output(store: GradientStore, path: Path) -> None:
    """Let a store remember a file that shows its rows.

    Args:
        store: The store.
        path: The file.
    """
    try:
        if store.log.exists():
            store.log.remember(path.resolve())
    except OSError as error:
        progress.say(
            f"the store can't remember {path} ({error.strerror}): look after it yourself when its rows are to be forgotten"
        )


def forget_outputs(store: GradientStore, row_ids: Collection[str]) -> None:
    """Remove what shows rows that leave the store and lies in its folder, and name what lies elsewhere or was changed since.

    Args:
        store: The store, with the texts of these rows.
        row_ids: The rows.
    """
    outputs = {place: digest for place, digest in store.log.outputs().items() if place.is_file()}
    if not outputs or not row_ids:
        return
    leaving = [row_of_text(text, where=store.place) for text in read_texts(store.folder) if text["id"] in row_ids]
    needles = needles_of(leaving) | {row_id.encode() for row_id in row_ids}
    for place, digest in outputs.items():
        if not mentions(place, needles):
            continue
        if store.folder.resolve() in place.parents and file_digest(place) == digest:
            place.unlink()
            progress.say(f"removed: {place}, which showed rows that leave the store")
        else:
            progress.say(f"not removed: {place} shows rows that leave the store")
