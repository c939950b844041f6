"""Whole files or none."""

import errno
import fcntl
import json
import os
import signal
import socket
import stat
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from unweave.digests import content_digest
from unweave.errors import ConfigError, DataError, UnweaveError
from unweave.files import read_json, write_json
from unweave.locks import locked
from unweave.replacing import follow_umask, replacing, replacing_folder

BUSY = ConfigError("Another process is at work here.", where="there", remedy="wait")
HOLDER = """
import sys, time
from pathlib import Path
from unweave.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_an_error_leaves_the_old_content_and_no_rubbish(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_folders_are_replaced_whole(tmp_path):
    target = tmp_path / "f"
    for content in ("one", "two"):
        with replacing_folder(target) as folder:
            (folder / content).write_text(content)
    assert [entry.name for entry in target.iterdir()] == ["two"]
    with pytest.raises(RuntimeError), replacing_folder(target) as folder:
        (folder / "three").write_text("x")
        raise RuntimeError
    assert [entry.name for entry in target.iterdir()] == ["two"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["f"]


def test_json_has_no_nan_and_errors_name_the_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": float("nan"), "b": [float("inf"), 1.5]})
    assert read_json(path, what="It") == {"a": None, "b": [None, 1.5]}
    path.write_text("{")
    with pytest.raises(DataError, match="It is not valid JSON") as raised:
        read_json(path, what="It")
    assert str(path) in str(raised.value)
    with pytest.raises(DataError, match="It not found"):
        read_json(tmp_path / "b.json", what="It")


def test_a_lock_says_who_holds_it_and_goes_with_a_killed_process(tmp_path):
    path = tmp_path / "new" / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(
                ConfigError, match=f"at work here. It is process {holder.pid} on {socket.gethostname()}, since 20"
            ) as raised,
            locked(path, BUSY),
        ):
            pytest.fail("two at once")
        assert (raised.value.where, raised.value.remedy) == ("there", "wait")
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert path.is_file(), "a killed process leaves its lock's file behind"
    with locked(path, BUSY):
        assert json.loads(path.read_text())["process"] == os.getpid()
        with pytest.raises(ConfigError, match=f"process {os.getpid()} "), locked(path, BUSY):
            pytest.fail("two at once")
    assert not path.exists()
    with pytest.raises(RuntimeError), locked(path, BUSY):
        raise RuntimeError
    with locked(path, BUSY):
        pass


def test_a_folder_that_can_not_be_locked_is_named(tmp_path, monkeypatch):
    def refuses(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuses)
    with (
        pytest.raises(UnweaveError, match="can't be locked against other processes: No locks available") as raised,
        locked(tmp_path / ".lock", BUSY),
    ):
        pytest.fail("not locked")
    assert raised.value.where == str(tmp_path)


def test_a_digest_is_of_the_bytes_whatever_size_and_time_say(tmp_path):
    path = tmp_path / "a"
    digests = []
    for content in (b"one", b"two", b"one"):
        path.write_bytes(content)
        os.utime(path, (1, 1))
        digests.append(content_digest(path))
    assert digests[0] == digests[2] != digests[1]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_new_files_have_the_mode_that_the_umask_gives_whoever_writes_them(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", {})
        with replacing(tmp_path / "a.safetensors") as temporary:
            save_file({"a": np.ones(2)}, temporary)
        with replacing_folder(tmp_path / "folder") as folder:
            save_file({"a": np.ones(2)}, folder / "b.safetensors")
            (folder / "b.json").write_text("{}")
        (tmp_path / "plain").mkdir()
        save_file({"a": np.ones(2)}, tmp_path / "plain" / "c.safetensors")
        follow_umask(tmp_path / "plain")
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 5
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in files} == {
        path.name: oct(0o666 & ~umask) for path in files
    }


def test_a_file_that_is_written_anew_has_the_mode_of_a_new_one(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("{}")
    path.chmod(0o600)
    write_json(path, {})
    os.close(os.open(tmp_path / "new", os.O_CREAT | os.O_WRONLY, 0o666))
    assert path.stat().st_mode == (tmp_path / "new").stat().st_mode


def test_names_of_any_length_and_of_any_bytes_are_written(tmp_path):
    for name in ("a." + "b" * 250, os.fsdecode(b"a\xff.json")):
        write_json(tmp_path / name, {"name": name})
        assert read_json(tmp_path / name, what="It") == {"name": name}
