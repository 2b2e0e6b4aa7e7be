"""rtnl: the lock under which devices are configured, and who is told of it (rtnetlink.c, notifier chains)."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from softnet.netdev import NetDevice


class NetdevEvent(enum.Enum):
    """NETDEV_*: what a notifier is told. Those that may be refused are, by the OSError that a notifier raises."""

    POST_INIT = enum.auto()  # may be refused
    REGISTER = enum.auto()  # may be refused
    UNREGISTER = enum.auto()
    PRE_UNINIT = enum.auto()
    PRE_UP = enum.auto()  # may be refused
    UP = enum.auto()
    GOING_DOWN = enum.auto()
    DOWN = enum.auto()
    CHANGE = enum.auto()  # carrier, operstate or flags
    PRECHANGEMTU = enum.auto()  # may be refused
    CHANGEMTU = enum.auto()  # may be refused: the MTU is set back
    PRE_CHANGEADDR = enum.auto()  # may be refused
    CHANGEADDR = enum.auto()
    CHANGENAME = enum.auto()  # may be refused: the name is set back
    CHANGE_TX_QUEUE_LEN = enum.auto()  # may be refused: the length is set back
    FEAT_CHANGE = enum.auto()


Notifier = Callable[[NetdevEvent, "NetDevice"], object]


class Rtnl:
    """The rtnl lock of one Stack: `with stack.rtnl:`. The thread that holds it may take it again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._owner: int | None = None
        self._depth = 0

    @property
    def held(self) -> bool:
        """Whether this thread holds it."""
        return self._owner == threading.get_ident()

    def __enter__(self) -> Rtnl:
        self._lock.acquire()
        self._owner = threading.get_ident()
        self._depth += 1
        return self

    def __exit__(self, *exc: object) -> None:
        self._depth -= 1
        if not self._depth:
            self._owner = None
        self._lock.release()

    def __repr__(self) -> str:
        return f"<Rtnl: {'free' if self._owner is None else f'held by thread {self._owner}'}>"
