"""What killed writers leave is taken up or swept away, and a living writer's never is."""

import os
import signal
import stat
import subprocess
import sys

import pytest

from unweave.files import write_text
from unweave.replacing import replacing, replacing_folder
from unweave.temporary import remove_stale

WRITER = """
import sys, time
from pathlib import Path
from unweave.replacing import replacing, replacing_folder
one, two = Path(sys.argv[1]), Path(sys.argv[2])
with replacing(one) as temporary, replacing_folder(two) as folder:
    temporary.write_text("a secret, half wri")
    (folder / "part").write_text("a secret")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "one.txt"), str(tmp_path / "two")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def left_in(folder):
    return sorted(path.name for path in folder.rglob(".tmp-*"))


def killed(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_what_a_living_writer_holds_stays_and_what_a_killed_one_left_goes(tmp_path, writer):
    assert len(left_in(tmp_path)) == 2
    assert remove_stale(tmp_path) == []
    write_text(tmp_path / "one.txt", "another's")  # beside the other, not over it
    with replacing_folder(tmp_path / "two") as folder:
        (folder / "all").write_text("another's")
    assert len(left_in(tmp_path)) == 2
    killed(writer)
    (tmp_path / "below").mkdir()
    (tmp_path / "below/.tmp-of-before.parquet").write_text("from an earlier version")
    assert remove_stale(tmp_path, below=False) != []
    assert left_in(tmp_path) == [".tmp-of-before.parquet"]
    assert len(remove_stale(tmp_path)) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["below", "one.txt", "two"]


def test_the_next_writer_of_the_same_name_takes_up_what_a_killed_one_left(tmp_path, writer):
    killed(writer)
    write_text(tmp_path / "one.txt", "done")
    with replacing_folder(tmp_path / "two") as folder:
        assert list(folder.iterdir()) == []
        (folder / "all").write_text("done")
    assert left_in(tmp_path) == []
    assert (tmp_path / "one.txt").read_text() == (tmp_path / "two/all").read_text() == "done"


def test_one_process_may_write_a_name_twice_at_a_time(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        with replacing(path) as second:
            assert first != second
            second.write_text("two")
        first.write_text("one")
    assert path.read_text() == "one"
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("name", ["a.json", "n" * 240 + ".json"])
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_permissions_follow_the_umask_and_suffixes_stay(tmp_path, mask, name):
    before = os.umask(mask)
    try:
        for _ in range(2):
            with replacing(tmp_path / name) as temporary:
                assert temporary.suffix == ".json"
                temporary.write_text("x")
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~mask
        with replacing_folder(tmp_path / "f") as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~mask
    finally:
        os.umask(before)


def test_a_disk_without_locks_is_written_to_and_nothing_of_others_is_taken_there(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(37, "No locks available")

    (tmp_path / ".tmp-0-a.txt").write_text("another's, perhaps")
    monkeypatch.setattr("fcntl.flock", refuses)
    write_text(tmp_path / "a.txt", "done")
    assert remove_stale(tmp_path) == []
    assert (tmp_path / ".tmp-0-a.txt").read_text() == "another's, perhaps"
    assert (tmp_path / "a.txt").read_text() == "done"


def test_a_folder_that_can_not_be_written_to_is_an_error_at_once(tmp_path):
    (tmp_path / "a").write_text("a file")
    with pytest.raises((NotADirectoryError, FileExistsError)), replacing(tmp_path / "a" / "b"):
        pytest.fail("written")
