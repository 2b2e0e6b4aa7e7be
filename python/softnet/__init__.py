"""softnet: the kernel's network device layer in small, over any driver: devices, queues, softirq, wires, tools.

Pure Python that decides; packets pass below it, in bursts. It knows no register of any card.
"""

from softnet.netdev import NetDevice, NetDeviceOps, Stats64
from softnet.stack import Stack

__all__ = ["NetDevice", "NetDeviceOps", "Stack", "Stats64"]
