"""What can be asked of a running stack: the methods by name, their parameters checked. Run in the stack's thread, where rtnl may be taken.

`devices`: their names. `link.show`, `link.set`: as `ip link` does. `ethtool.*`: softnet.ethtool's functions. `qdisc.show`: as `tc` does.
`file.read`, `file.write`: files of /sys/class/net and /proc/net/dev, by their paths.
"""

from __future__ import annotations

import errno
import inspect
import json
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from softnet import ethtool
from softnet.control import sockets
from softnet.control.link import set_link
from softnet.tc import show_qdiscs
from softnet.views import iproute, procfs

if TYPE_CHECKING:
    from softnet.netdev import NetDevice
    from softnet.stack import Stack

log = logging.getLogger("softnet")

SYSFS, PROC_NET_DEV = "/sys/class/net/", "/proc/net/dev"
ETHTOOL = (
    "get_settings", "set_settings", "nway_reset", "get_pauseparam", "set_pauseparam", "set_phys_id", "get_ringparam", "set_ringparam",
    "get_coalesce", "set_coalesce", "get_drvinfo", "get_ethtool_stats", "get_regs", "self_test", "get_permaddr", "get_eeprom", "set_eeprom",
    "get_features", "set_features",
)  # fmt: skip


class Methods:
    """All of one stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self._table: dict[str, Callable[..., Any]] = {
            "devices": lambda: list(stack.devices),
            "link.show": self._link_show,
            "link.set": self._on_device(set_link),
            "qdisc.show": self._qdisc_show,
            "file.read": self._file_read,
            "file.write": self._file_write,
        }
        self._table |= {f"ethtool.{name}": self._on_device(getattr(ethtool, name)) for name in ETHTOOL}

    def answer(self, call: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks for; returns its answer, which is an error if anything at all went wrong."""
        parameters = {name: value for name, value in call.items() if name != "method"}
        try:
            method = self._table.get(call["method"])
            if method is None:
                raise OSError(errno.ENOSYS, f"there is no method {call['method'][:80]!r}")
            check(method, parameters)
            return {"result": method(**parameters)}
        except OSError as error:
            return error_of(error)
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            log.debug("a control request failed", exc_info=True)
            return error_of(OSError(errno.EINVAL, f"{call['method']!s:.80} does not take such parameters: {error}"))
        except Exception as error:
            log.exception("a control request failed: %r", call)
            return error_of(OSError(errno.EIO, f"{type(error).__name__}: {error}"))

    def device(self, name: object) -> NetDevice:
        """A device by its name. Raises OSError ENODEV."""
        if not isinstance(name, str) or name not in self.stack.devices:
            raise OSError(errno.ENODEV, f"there is no device {str(name)[:80]!r}")
        return self.stack.devices[name]

    def _on_device(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def method(dev: str, **parameters: Any) -> Any:
            device = self.device(dev)
            check(function, parameters, device)
            return function(device, **parameters)

        return method

    def _link_show(self, dev: str | None = None, stats: int = 0, details: bool = False, json: bool = False, up: bool = False) -> str:
        with self.stack.rtnl:
            return iproute.link(self.stack, dev, stats=stats, details=details, json=json, up=up)

    def _qdisc_show(self, dev: str | None = None, statistics: bool = False) -> str:
        with self.stack.rtnl:
            devices = list(self.stack.devices.values()) if dev is None else [self.device(dev)]
            return "".join(show_qdiscs(device, statistics=statistics, named=dev is None) + "\n" for device in devices)

    def _file_read(self, path: str) -> str | list[str]:
        """What a file holds, or the names in a directory."""
        with self.stack.rtnl:
            if path == PROC_NET_DEV:
                return procfs.net_dev(self.stack)
            device, name = self._sysfs(path)
            if device is None:
                return list(self.stack.devices)
            names = list(device.sysfs)
            if name not in names:
                inside = sorted({n[len(name) :].lstrip("/").partition("/")[0] for n in names if not name or n.startswith(name + "/")})
                if inside:
                    return inside
            with device.sysfs.open(name) as file:
                return file.read()

    def _file_write(self, path: str, text: str) -> None:
        device, name = self._sysfs(path)
        if device is None:
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        with device.sysfs.open(name) as file:
            file.write(text)

    def _sysfs(self, path: str) -> tuple[NetDevice | None, str]:
        """The device a path is of, and the file's name in its folder."""
        whole = os.path.normpath(path) + "/"
        if not whole.startswith(SYSFS):
            raise OSError(errno.ENOENT, "there are only /sys/class/net and /proc/net/dev here", path[:80])
        name, _, rest = whole.removeprefix(SYSFS).partition("/")
        if name and name not in self.stack.devices:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), path[:80])
        return (self.stack.devices[name] if name else None), rest.rstrip("/")


def check(function: Callable[..., Any], parameters: dict[str, Any], *before: object) -> None:
    """Raises OSError EINVAL if a function does not take these parameters: by name, and by simple type where its signature has one."""
    signature = inspect.signature(function)
    try:
        signature.bind(*before, **parameters)
    except TypeError as error:
        raise OSError(errno.EINVAL, str(error)) from None
    for name, value in parameters.items():
        rest = next((p for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), None)
        wanted = signature.parameters.get(name, rest)
        kinds = KINDS.get(str(wanted.annotation)) if wanted is not None else None
        if kinds is not None and type(value) not in kinds:
            raise OSError(errno.EINVAL, f"{name} is {' or '.join(kind.__name__ for kind in kinds)}, not {type(value).__name__}")


KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,), "int": (int,), "bool": (bool,), "str | None": (str, type(None)), "int | None": (int, type(None)),
    "bool | None": (bool, type(None)), "dict[str, bool]": (dict,),
}  # fmt: skip


def error_of(error: OSError) -> dict[str, Any]:
    """An answer that is an error: errno, and one line; `extack`: the kernel's own words, where it has some."""
    line = " ".join(str(error.strerror or error).split())
    told: dict[str, Any] = {"errno": error.errno or errno.EIO, "text": line[:500]}
    if isinstance(error, ethtool.Refused):
        told["extack"] = error.extack
    return {"error": told}


def encode(answer: dict[str, Any]) -> bytes:
    """The message; an error if it would be too long, or is nothing that JSON has."""
    try:
        message = json.dumps(answer).encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = json.dumps(error_of(OSError(errno.EPROTO, f"the answer cannot be told: {error}"))).encode()
    if len(message) > sockets.MAX_MESSAGE:
        text = f"the answer has {len(message)} bytes, more than {sockets.MAX_MESSAGE}: ask for less, such as one device"
        message = json.dumps(error_of(OSError(errno.EMSGSIZE, text))).encode()
    return message
