"""A folder in which several processes may work, at the same thing."""

import fcntl

import pytest

from unweave import joint
from unweave.errors import BusyError
from unweave.joint import joined

BUSY = BusyError("Another process is at work here.", where="there", remedy="wait")


def join(path, key, begun):
    return joined(path, key, begin=lambda: begun.append(key), busy=BUSY)


def test_those_at_the_same_thing_work_together_and_the_first_makes_ready(tmp_path, monkeypatch):
    monkeypatch.setattr(joint, "PATIENCE", 0.1)
    path, begun = tmp_path / "folder/.lock", []
    with join(path, "a", begun):
        with join(path, "a", begun), pytest.raises(BusyError), join(path, "b", begun):
            pass
        assert path.is_file(), "the first is still at work"
        with pytest.raises(BusyError), join(path, "b", begun):
            pass
    assert not path.exists()
    with join(path, "b", begun):
        pass
    assert begun == ["a", "b"]


def test_one_who_holds_the_folder_alone_keeps_all_out_and_a_killed_one_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr(joint, "PATIENCE", 0.1)
    path, begun = tmp_path / ".lock", []
    path.write_text("what a killed process has left")
    with path.open("a+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BusyError), join(path, "a", begun):
            pass
    with join(path, "a", begun):
        assert path.read_text() == "a"
    assert begun == ["a"]


def test_who_can_not_make_the_folder_ready_leaves_no_lock_behind(tmp_path):
    path = tmp_path / ".lock"

    def fails():
        raise RuntimeError

    with pytest.raises(RuntimeError), joined(path, "a", begin=fails, busy=BUSY):
        pass
    assert not path.exists()
