"""Two processes in one folder, a full disk, few descriptors, a disk that can't be written: how each command ends, and whether it ends well afterwards."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.forks import Ended, Forks
from tests.kills import World, build, differences, unexplained

from hardening_parts.kills import COMMANDS

ROUNDS = 10
READING = "trace --store store --prompt hello --completion world --quiet"
DESCRIPTORS = 64
DISK = 4 << 20
PATIENCE = 50
FEW_DESCRIPTORS = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))"


def run(folder: Path, *, seed: int, only: Sequence[str] = COMMANDS) -> Iterator[dict[str, Any]]:
    """Make life hard for each command.

    Args:
        folder: An empty folder.
        seed: Not used: nothing is drawn.
        only: The commands.

    Yields:
        Scenario to command to outcome.
    """
    del seed
    world = build(folder)
    found: dict[str, Any] = {}
    with Forks(world.scratch / "one") as forks, Forks(world.scratch / "two") as others:
        whole, space = {}, {}
        for name in only:
            world.begin(name)
            before = _bytes(world.work)
            whole[name] = world.finish(forks, name)[1]
            space[name] = max(_bytes(world.work) - before, 4096)
        able = _can_mount(folder)
        for name in only:

            def again(name: str = name) -> str:
                ended, result = world.finish(forks, name)
                left = unexplained(differences(whole[name], result))
                return (
                    f"ends with {ended.code}, as undisturbed" if not left else f"ends with {ended.code}, but {left[:5]}"
                )

            found[name] = {
                "two at once": _two(world, forks, others, name, again),
                f"{DESCRIPTORS} descriptors": _few(world, forks, name, again),
                "full disk": _full(world, forks, name, again, room=space[name] // 2)
                if able
                else "not tried: this user can't mount a disk",
                "read-only disk": _read_only(world, forks, name, again)
                if able
                else "not tried: this user can't mount a disk",
            }
            print(name, found[name], flush=True)
        yield {"commands": found, "readers": _readers(world, forks, others)}


def _readers(world: World, forks: Forks, others: Forks) -> dict[str, Any]:
    """Traces from a store while it is compacted: each round both begin at once."""
    failed, printed = [], set()
    for _ in range(ROUNDS):
        world.begin("store compact")
        forks.start(world.line("store compact"), folder=world.work)
        others.start(READING, folder=world.work)
        ends = forks.end(), others.end()
        failed += [_told(ended)["error"] for ended in ends if ended.code]
        # All but the time that it took.
        printed.add(re.sub(r"[\d.]+ s$", "", ends[1].printed.strip()))
    print("readers", failed, len(printed), flush=True)
    return {"rounds": ROUNDS, "failed": failed, "different answers": len(printed)}


def _told(ended: Ended) -> dict[str, Any]:
    """Exit code and the error's first line."""
    lines = [line for line in ended.errors.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error")] or lines
    # Who holds a lock, and since when, is another each time.
    return {
        "code": ended.code,
        "error": errors[0].partition(" It is process")[0][:300] if ended.code and errors else "",
    }


def _two(world: World, forks: Forks, others: Forks, name: str, again: Callable[[], str]) -> dict[str, Any]:
    world.begin(name)
    forks.start(world.line(name), folder=world.work)
    others.start(world.line(name), folder=world.work)
    return {"first": _told(forks.end()), "second": _told(others.end()), "again": again()}


def _few(world: World, forks: Forks, name: str, again: Callable[[], str]) -> dict[str, Any]:
    world.begin(name)
    return {**_told(world.run(forks, name, before=FEW_DESCRIPTORS)), "again": again()}


def _full(world: World, forks: Forks, name: str, again: Callable[[], str], *, room: int) -> dict[str, Any]:
    """A disk of 4 MB with room for half of what the command writes; then the same disk with room enough."""
    with _Disk(world, name) as disk:
        disk.fill(room)
        ended = world.run(forks, name)
        disk.empty()
        return {**_told(ended), "again": again()}


def _read_only(world: World, forks: Forks, name: str, again: Callable[[], str]) -> dict[str, Any]:
    with _Disk(world, name) as disk:
        disk.mount("remount,ro")
        ended = world.run(forks, name)
        disk.mount("remount,rw")
        return {**_told(ended), "again": again()}


class _Disk:
    """The folder where a command runs, as a disk of its own."""

    def __init__(self, world: World, name: str):
        self.world, self.ballast = world, world.work / "ballast"
        world.begin("case")
        self.mount(f"size={4 * DISK}")
        world.fill(name)

    def __enter__(self) -> "_Disk":
        return self

    def __exit__(self, *_: object) -> None:
        for _ in range(PATIENCE):
            # A helper of a command that was just ended may need a moment to end too.
            if not subprocess.run(["umount", str(self.world.work)], capture_output=True, check=False).returncode:
                return
            time.sleep(0.1)
        subprocess.run(["umount", "--lazy", str(self.world.work)], check=True)

    def mount(self, options: str) -> None:
        place = [str(self.world.work)]
        kind = [] if options.startswith("remount") else ["-t", "tmpfs", "tmpfs"]
        subprocess.run(["mount", "-o", options, *kind, *place], check=True, capture_output=True)

    def fill(self, room: int) -> None:
        """Leave so many bytes of it."""
        used = _used(self.world.work)
        self.mount(f"remount,size={max(DISK, used + room)}")
        with self.ballast.open("wb") as out:
            out.write(bytes(max(DISK, used + room) - used - room))

    def empty(self) -> None:
        self.ballast.unlink()
        self.mount(f"remount,size={16 * DISK}")


def _can_mount(folder: Path) -> bool:
    place = folder / "tried"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(place)], capture_output=True, check=False).returncode:
        return False
    subprocess.run(["umount", str(place)], check=True)
    return True


def _used(folder: Path) -> int:
    import shutil

    return shutil.disk_usage(folder).used


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
