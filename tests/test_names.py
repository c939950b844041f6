"""Names: what may be one, and that nothing made from a text leads out of its folder."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unweave.errors import ConfigError
from unweave.names import MOST_BYTES, MOST_CHARACTERS, alike, fault_of, file_name, inside, require_name


@pytest.mark.parametrize(
    "name",
    ["a", "_a", "7", "ann-2026.10", "a..b", "José", "Ålesund_3", "名前", "हिन्दी", "ไทยน้ำ", "x" * MOST_CHARACTERS],
)
def test_what_may_be_a_name(name):
    assert require_name(name, what="It") == unicodedata.normalize("NFC", name)
    assert require_name(unicodedata.normalize("NFD", name), what="It") == unicodedata.normalize("NFC", name)
    assert file_name(unicodedata.normalize("NFC", name)) == unicodedata.normalize("NFC", name)


BAD = [
    "", ".", "..", "../x", "a/b", "/etc", "a\\b", "C:x", ".hidden", "-rf", "a.", "a b", " a", "a\n", "a\0b", "\x1b[31m",
    "a\u202eb", "a\u200db", "\u3164", "x\ufe0f", "\u0301a", "con", "NUL.txt", "com1", "Lpt9.a.b", "~", "$HOME", "a*", "a?",
    "a:b", "a=b", "x²", "½", "x" * (MOST_CHARACTERS + 1), "\U0001d504" * 60, "😀", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD)
def test_what_may_not(text):
    with pytest.raises(ConfigError, match="The task is no name") as caught:
        require_name(text, what="The task", where="`tasks`")
    assert caught.value.where == "`tasks`"
    assert "use letters" in str(caught.value)


@given(st.text())
def test_a_file_name_is_a_name_and_no_other_texts(text):
    name = file_name(text)
    assert fault_of(name) is None
    assert len(name.encode()) <= MOST_BYTES
    assert (name == text) == (unicodedata.is_normalized("NFC", text) and fault_of(text) is None)
    assert file_name(name) != name or name == text


def test_file_names_of_different_texts_differ():
    texts = ["a/b", "a:b", "a b", "A/b", "", ".", "..", "Jose\u0301", "José", "x" * 100, "x" * 101]
    assert len({file_name(text) for text in texts}) == len(texts)


def test_names_that_some_file_systems_take_for_the_same():
    assert alike("Ann", ["bob", "ann"]) == "ann"
    assert alike("Ａnn", ["ann"]) == "ann"
    assert alike("ann", ["ann", "bob"]) is None


@given(st.text(alphabet="./\\a\0", max_size=4))
def test_inside_stays_in_its_folder(text):
    from pathlib import Path

    try:
        path = inside(Path("/tmp/none"), text, what="It")
    except ConfigError:
        return
    assert path.resolve().parent == Path("/tmp/none").resolve()


def test_a_link_is_no_place_inside(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="link"):
        inside(tmp_path / "folder", "x", what="The request's id")
    assert inside(tmp_path / "folder", "y z", what="It").name == "y z"
