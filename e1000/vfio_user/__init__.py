"""vfio-user: a PCI device on a UNIX socket. The server serves a card to virtual machines and drivers; the client is a bus to a served card.

The protocol: QEMU's docs/interop/vfio-user.rst, and <linux/vfio.h> for what it takes over from VFIO.
"""

from e1000.vfio_user.bus import VfioUserBus
from e1000.vfio_user.server import VfioUserServer, serve
from e1000.vfio_user.shared_memory import SharedMemory

__all__ = ["SharedMemory", "VfioUserBus", "VfioUserServer", "serve"]
