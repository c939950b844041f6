"""Errors of the system and of libraries are told as what they are, with what to do; nothing of them is a bug of unweave."""

import errno
import sys

import pytest

from unweave import terminal
from unweave.cli.main import main
from unweave.errors import UnweaveError
from unweave.faults import explained


def raising(error):
    def work(argv):
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EROFS, "Read-only file system", "/ro/x"), "Read-only file system"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/no"), "No such file"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/file/x"), "a part of this path is a file"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/folder"), "this is a folder"),
        (PermissionError(errno.EACCES, "Permission denied", "/locked"), "change its permissions"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300), "shorter name"),
        (OSError(errno.ENOSPC, "No space left on device", "/full"), "The disk is full"),
        (RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 15616 vs 15504"), "The disk is full"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
            "not enough memory",
        ),
        (MemoryError(), "not enough memory"),
        (OSError("no number and no name"), "No number and no name"),
    ],
)
def test_what_the_system_says_is_told_with_its_path_and_a_remedy(monkeypatch, capsys, error, message):
    monkeypatch.setattr("unweave.jobs.listing.list_names", raising(error))
    assert main(["list", "methods"]) == 1
    told = capsys.readouterr().err
    assert message in told
    assert "remedy:" in told
    assert "bug in unweave" not in told
    if getattr(error, "filename", None):
        assert f"where: {error.filename}" in told


def test_a_full_disk_is_found_behind_the_error_that_it_caused():
    error = ValueError("could not write")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device", "/full")
    assert "disk is full" in str(explained(error))
    assert explained(ValueError("could not write")) is None


def test_interruptions_and_closed_pipes_have_exit_codes_of_their_own(monkeypatch, capsys):
    monkeypatch.setattr("unweave.jobs.listing.list_names", raising(KeyboardInterrupt()))
    assert main(["list", "methods"]) == 130
    assert "Interrupted" in capsys.readouterr().err
    monkeypatch.setattr("unweave.jobs.listing.list_names", raising(UnweaveError("no")))
    assert main(["list", "methods"]) == 1


def test_a_real_bug_is_still_called_one(monkeypatch, capsys):
    monkeypatch.delenv("UNWEAVE_TRACEBACK", raising=False)
    monkeypatch.setattr("unweave.jobs.listing.list_names", raising(KeyError("x")))
    assert main(["list", "methods"]) == 1
    assert "this is a bug in unweave" in capsys.readouterr().err
    monkeypatch.setenv("UNWEAVE_TRACEBACK", "1")
    assert main(["list", "methods"]) == 1
    assert "KeyError: 'x'" in capsys.readouterr().err


def test_a_closed_output_is_no_crash(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    terminal._ready_streams()
    assert sys.stdout is not None
    sys.stdout.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RecursionError("maximum recursion depth exceeded"), "nested too deeply"),
        (OverflowError("int too large to convert to float"), "too large to compute with"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), "not UTF-8"),
    ],
)
def test_what_is_too_large_too_deep_or_no_text_is_told(error, said):
    assert said in str(explained(error))
    assert explained(error).remedy


def test_bytes_that_are_no_text_are_refused_by_the_options_name_and_are_fine_in_a_path(capsys):
    assert main(["trace", "--store", "x", "--prompt", "a\udcff"]) == 2
    assert "--prompt" in capsys.readouterr().err
    assert main(["store", "info", "a\udcff"]) == 1
    assert "⟨U+DCFF⟩" in capsys.readouterr().err
