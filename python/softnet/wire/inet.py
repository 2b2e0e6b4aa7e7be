"""`udp:` and `tcp:`: frames over UDP and TCP, as QEMU's -netdev dgram and -netdev stream have them."""

from __future__ import annotations

import socket
import struct

from fastring.clock import Clock
from fastring.socket_wire import DatagramWire
from fastring.stream_wire import StreamWire
from softnet.wire.cabling import Cabling, host_cabling
from softnet.wire.socket_address import STREAM_OPTIONS, Address, connecting, enlarge, named, parse_address, retry_seconds
from softnet.wire.spec import parse_argument


def open_udp(argument: str, clock: Clock) -> Cabling:
    """A UDP socket connected to a peer, or one in a multicast group."""
    text, options = parse_argument("udp", argument, {"local": str}, name="host:port")
    remote = parse_address(text, socket.SOCK_DGRAM)
    if remote.address[1] == 0:
        raise ValueError(f"the wire 'udp': nobody has port 0: {text!r}")
    local = None
    if "local" in options:
        local = parse_address(options["local"], socket.SOCK_DGRAM, like=remote, port_needed=not remote.multicast)
    name = f"udp:{text}"
    with named(text if local is None else local.text):
        if remote.multicast:
            receiver, sender = _group(remote, local)
            return host_cabling(DatagramWire(receiver, sender=sender, name=name))
        own = _unicast(remote, local)
        return host_cabling(DatagramWire(own, name=name))


def open_tcp(argument: str, clock: Clock) -> Cabling:
    """A TCP connection to HOST:PORT, or with server=on a socket listening there."""
    text, options = parse_argument("tcp", argument, STREAM_OPTIONS, name="host:port")
    address = parse_address(text, socket.SOCK_STREAM)
    retry, name = retry_seconds("tcp", options), f"tcp:{text}"
    with named(text):
        if options.get("server"):
            listener = socket.create_server(address.address[:2], family=address.family, backlog=1)
            return host_cabling(StreamWire(listener=listener, name=name))
        return host_cabling(StreamWire(connect=lambda: connecting(address.family, address.address), retry=retry, name=name))


def _unicast(remote: Address, local: Address | None) -> socket.socket:
    own = socket.socket(remote.family, socket.SOCK_DGRAM)
    try:
        if local is not None:
            own.bind(local.address)
        enlarge(own)
        own.connect(remote.address)
    except BaseException:
        own.close()
        raise
    return own


def _group(group: Address, local: Address | None) -> tuple[socket.socket, socket.socket]:
    """A socket that receives what is sent to a group, and one to send by: its port is its own, so that we know our frames.

    `local`: the address of the interface to use (IPv4); with IPv6 the group names it: [ff02::1%eth0]:PORT.
    """
    receiver = socket.socket(group.family, socket.SOCK_DGRAM)
    sender = socket.socket(group.family, socket.SOCK_DGRAM)
    try:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        receiver.bind(group.address)
        enlarge(receiver)
        if group.family == socket.AF_INET6:
            number = socket.inet_pton(socket.AF_INET6, group.address[0].partition("%")[0])
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, number + struct.pack("@I", group.address[3]))
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, group.address[3])
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
        else:
            interface = socket.inet_aton("0.0.0.0" if local is None else local.address[0])
            receiver.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group.address[0]) + interface)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)  # others on this machine may be members
            if local is not None:
                sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
                sender.bind((local.address[0], 0))
        sender.connect(group.address)
    except BaseException:
        receiver.close()
        sender.close()
        raise
    return receiver, sender
