"""A running stack, asked and configured from other processes: `with ControlServer(stack):` there, `fastring ip`, `ethtool`, `tc` here.

One UNIX socket a stack, SOCK_SEQPACKET; a request is one message, a JSON object, and so is its answer (as DPDK's telemetry does it):

    {"method": "link.set", "dev": "eth0", "mtu": 9000}        {"result": null}
    {"method": "ethtool.get_ringparam", "dev": "eth9"}        {"error": {"errno": 19, "text": "there is no device 'eth9'"}}

The server speaks first: {"fastring": 1, "pid": ..., "name": ...}, 1 being the version of all this. `methods` has what can be asked.
"""

from softnet.control.client import ControlClient, find, running
from softnet.control.server import ControlServer

__all__ = ["ControlClient", "ControlServer", "find", "running"]
