"""The whole path with the cards in a process of their own, behind vfio-user. Run as a program it is that process."""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path as File

from path import Path, two_cards

from e1000.bus import Bus, HostMemory, VfioUserBus
from e1000.vfio_user import SharedMemory, VfioUserServer, serve


class RemotePath(Path):
    """As Path. `device_cpu`: the other process's core. `map_doorbells`: they are stores, not messages."""

    memory_type = SharedMemory

    def __init__(self, size: int, *, map_doorbells: bool = False, burst: int = 128, device_cpu: int | None = None, **options: int) -> None:
        self.map_doorbells = map_doorbells
        super().__init__(size, burst=burst, device_cpu=device_cpu, **options)

    def plug(self, undo: ExitStack, memory: HostMemory, device_cpu: int | None) -> list[Bus]:
        """The two cards, each on its bus."""
        folder = undo.enter_context(tempfile.TemporaryDirectory())
        paths = [f"{folder}/near", f"{folder}/far"]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        served = subprocess.Popen(
            [sys.executable, str(File(__file__)), *paths, *([] if device_cpu is None else [str(device_cpu)])],
            stdout=subprocess.PIPE,
            env=environment,
        )
        undo.callback(served.wait)
        undo.callback(served.kill)
        assert served.stdout is not None
        undo.enter_context(served.stdout)
        assert served.stdout.readline() == b"ready\n"
        assert isinstance(memory, SharedMemory)
        self.buses = [undo.enter_context(VfioUserBus(path, memory=memory, map_doorbells=self.map_doorbells)) for path in paths]
        return list(self.buses)

    def detach(self, undo: ExitStack, device_cpu: int | None) -> None:
        """They are."""

    @property
    def messages(self) -> dict[str, int]:
        """Of both buses so far."""
        return {name: sum(bus.messages[name] for bus in self.buses) for name in self.buses[0].messages}


def main(near: str, far: str, cpu: str | None = None) -> None:
    """Serve two cards on a cable until killed."""
    if cpu is not None:
        os.sched_setaffinity(0, {int(cpu)})
    with ExitStack() as undo:
        servers = [
            undo.enter_context(VfioUserServer(card, path, map_doorbells=True))
            for card, path in zip(two_cards(undo), (near, far), strict=True)
        ]
        print("ready", flush=True)
        serve(servers)


if __name__ == "__main__":
    main(*sys.argv[1:])
