"""A row that is known wherever it stands, and a search of a tree for its text and its sketch, in packed files too."""

import gzip
import html
import json
import secrets

import pyarrow as pa
import pyarrow.parquet as pq

from unweave.store.store import GradientStore

ROW_ID = "canary-row"


def canary_record(word=None):
    """A row whose prompt and answer hold a word that stands nowhere else."""
    word = word or f"canary{secrets.token_hex(8)}"
    return {"id": ROW_ID, "instruction": f"add 1 and 2 {word} ?", "context": "", "response": f"{word} 3 yes"}, word


def text_needles(*words):
    """Words in every form that a file may hold them in."""
    forms = {form for word in words for form in (word, json.dumps(word)[1:-1], html.escape(word))}
    return {form.encode(encoding) for form in forms for encoding in ("utf-8", "utf-16-le")}


def sketch_needles(store, row_id=ROW_ID):
    """The row's sketch as the store's shards hold it, and as an index of float32 does; asked before the row is forgotten."""
    opened = GradientStore.open(store)
    needles = {opened.read([row_id])[0].numpy().tobytes()[:32]}
    for block in opened.blocks():
        if row_id in block.row_ids:
            place = list(block.commit.row_ids[block.rows]).index(row_id)
            needles.add(opened.load(block).values[place].tobytes()[:32])
    return needles


def contents(path):
    """A file's bytes, and what it holds unpacked."""
    raw = path.read_bytes()
    yield raw
    if raw.startswith(b"\x1f\x8b"):
        yield gzip.decompress(raw)
    if raw.startswith(b"(\xb5/\xfd"):
        yield pa.CompressedInputStream(pa.BufferReader(raw), "zstd").read()
    if raw.startswith(b"PAR1"):
        try:
            yield json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False, default=str).encode()
        except (pa.ArrowException, OSError):
            # Half of a table has no footer; each of its pages may still be read by whoever tries.
            yield from whole_pages(raw)


def whole_pages(raw):
    """What can be unpacked of a table that was cut off: at any place where a page may begin."""
    for start in range(len(raw)):
        size = raw[start]
        shift, end = 7, start + 1
        while size >= 1 << shift and end < len(raw) and shift < 28:
            size = (size & ((1 << shift) - 1)) | raw[end] << shift
            shift, end = shift + 7, end + 1
        for length in {raw[start], size}:
            if 8 < length < 1 << 16:
                try:
                    yield pa.decompress(raw[start:], decompressed_size=length, codec="snappy", asbytes=True)
                except (pa.ArrowException, OSError):
                    continue


def hits(folder, needles, *, apart=()):
    """The files of a tree that hold one of the needles; `apart` are the user's own."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and path not in apart
        and any(needle in content for content in contents(path) for needle in needles)
    )
