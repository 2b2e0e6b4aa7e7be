"""TAP interfaces of the kernel's, made, attached to and set up by ioctl (tun.rst); errors say what would be right."""

import fcntl
import os
import re
import struct

from libc.errno cimport E2BIG, EBUSY, EINVAL, ENODEV, ENOENT, ENXIO, EPERM

from fastring.virtio_net cimport virtio_net_hdr

cdef extern from "<linux/if_tun.h>":
    const unsigned long TUNSETIFF, TUNSETOFFLOAD, TUNSETVNETHDRSZ
    const int IFF_VNET_HDR, IFF_MULTI_QUEUE, TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN

cdef extern from "<sys/ioctl.h>":
    const unsigned long SIOCGIFINDEX, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFMTU

cdef enum:
    IFNAMSIZ = 16
    IFF_UP = 1
    TUN_F_USO4 = 0x20                   # newer than the headers of Debian 12
    TUN_F_USO6 = 0x40

cdef str TUN = "/dev/net/tun"


cdef void check_name(str name) except *:
    """dev_valid_name, and its template (dev_alloc_name). Raises ValueError."""
    if len(os.fsencode(name)) >= IFNAMSIZ or name in (".", "..") or re.search(r"[/:%\s\0]", name.replace("%d", "", 1)):
        raise ValueError(f"{name!r} is no interface name: at most {IFNAMSIZ - 1} bytes, no '/', ':' or white space, and one %d if any %")


cdef bytes request(str name, bytes argument=b""):
    """struct ifreq."""
    return struct.pack(f"{IFNAMSIZ}s24s", os.fsencode(name), argument)


cdef bint is_new(control, str name) except *:
    """Whether there is no such interface yet."""
    if not name or "%" in name:
        return True
    try:
        fcntl.ioctl(control, SIOCGIFINDEX, request(name))
    except OSError:
        return True
    return False


cdef int open_tun() except -1:
    """A descriptor for one queue."""
    try:
        return os.open(TUN, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (ENOENT, ENXIO, ENODEV):
            reason = f"there is no {TUN}: load the kernel's module (modprobe tun), or give the container the device"
            raise OSError(error.errno, reason) from None
        raise OSError(error.errno, f"{TUN} cannot be opened: {os.strerror(error.errno)}") from None


cdef str attach(int fd, str name, int flags):
    """Make a descriptor the interface's, and return the interface's name. Raises OSError, in words."""
    shown = name or "a TAP"
    try:
        own = fcntl.ioctl(fd, TUNSETIFF, request(name, struct.pack("H", flags)))
        if flags & IFF_VNET_HDR:
            fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", sizeof(virtio_net_hdr)))
    except OSError as error:
        queues = "with" if flags & IFF_MULTI_QUEUE else "without"
        reasons = {
            EPERM: f"to make {shown}, or to attach to it if it is another user's, needs CAP_NET_ADMIN",
            EBUSY: f"{shown}: another process is attached to it",
            EINVAL: f"{shown}: the interface is there, but no TAP made {queues} multi_queue",
            E2BIG: f"{shown}: the interface has no queue left",
        }
        raise OSError(error.errno, reasons.get(error.errno, f"{shown}: {os.strerror(error.errno)}")) from None
    return os.fsdecode(own[:IFNAMSIZ].partition(b"\0")[0])


cdef void set_offload(int fd, bint vnet_hdr) except *:
    """Say what the kernel may leave undone: all that `fastring.virtio_net` does, or nothing; whoever was attached before said so, too."""
    offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN if vnet_hdr else 0
    try:
        fcntl.ioctl(fd, TUNSETOFFLOAD, offloads | (TUN_F_USO4 | TUN_F_USO6 if vnet_hdr else 0))
    except OSError:                             # before Linux 6.2 there is no USO
        fcntl.ioctl(fd, TUNSETOFFLOAD, offloads)


cdef void set_interface(control, str name, up, mtu) except *:
    """Its MTU, and up if it should be. Raises OSError."""
    try:
        if mtu is not None:
            fcntl.ioctl(control, SIOCSIFMTU, request(name, struct.pack("i", mtu)))
        if up:
            flags, = struct.unpack_from("H", fcntl.ioctl(control, SIOCGIFFLAGS, request(name)), IFNAMSIZ)
            fcntl.ioctl(control, SIOCSIFFLAGS, request(name, struct.pack("H", flags | IFF_UP)))
    except OSError as error:
        raise OSError(error.errno, f"{name}: it cannot be set up, or not with an MTU of {mtu}: {os.strerror(error.errno)}") from None
