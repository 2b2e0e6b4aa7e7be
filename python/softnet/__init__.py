"""softnet: the kernel's network device layer in small, over any driver: devices, queues, softirq, wires, tools.

Pure Python that decides; packets pass below it, in bursts. It knows no register of any card.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from softnet.dev_xmit import dev_queue_xmit
from softnet.ethernet import eth_type_trans
from softnet.gro import Gro, GroResult
from softnet.netdev import NetDevice, alloc_etherdev, alloc_netdev_mqs
from softnet.netdev_features import Feature, Flag, OperState
from softnet.netdev_ops import NETDEV_TX_BUSY, NETDEV_TX_OK, NetDeviceOps, NetdevTx
from softnet.receive import RxHandlerResult, netif_receive_skb
from softnet.skbuff import DropReason, SkBuff, alloc_skb
from softnet.stack import Stack
from softnet.stats import Stats64

if TYPE_CHECKING:
    from softnet.captures import CaptureReader, open_capture
    from softnet.nic import Nic
    from softnet.nic_open import open_nic

# Imported when they are asked for: what most programs need not wait for.
_LATER = {"CaptureReader": "captures", "Nic": "nic", "open_capture": "captures", "open_nic": "nic_open"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


__all__ = [
    "NETDEV_TX_BUSY", "NETDEV_TX_OK", "CaptureReader", "DropReason", "Feature", "Flag", "Gro", "GroResult", "NetDevice",
    "NetDeviceOps", "NetdevTx", "Nic", "OperState", "RxHandlerResult", "SkBuff", "Stack", "Stats64", "alloc_etherdev",
    "alloc_netdev_mqs", "alloc_skb", "dev_queue_xmit", "eth_type_trans", "netif_receive_skb", "open_capture", "open_nic",
]
