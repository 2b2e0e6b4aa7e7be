"""The host's network interfaces, as the wires that send and receive there have to know them: netdevice(7)."""

import errno
import fcntl
import os
import struct

from libc.string cimport memset

cdef extern from *:
    """
    #include <net/if.h>
    #include <net/if_arp.h>
    #include <sys/ioctl.h>
    """
    const int IFNAMSIZ, IFF_UP, IFF_RUNNING, ARPHRD_ETHER, ARPHRD_LOOPBACK
    const unsigned long SIOCGIFINDEX, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFMTU, SIOCGIFNAME
    ctypedef struct ifreq "struct ifreq":
        int ifr_ifindex
        short ifr_flags
    int c_ioctl "ioctl"(int fd, unsigned long request, ifreq* argument) nogil


def ethernet_interface(sock, name):
    """Look up an interface, in the network namespace of `sock`, that takes and gives Ethernet frames; return its (ifindex, mtu).

    Raises OSError: ENODEV there is none, ENOTSUP it is not Ethernet, ENETDOWN it is not up.
    """
    if not 0 < len(os.fsencode(name)) < IFNAMSIZ or "\0" in name:
        raise OSError(errno.ENODEV, f"there is no interface {name!r}: a name has 1 to {IFNAMSIZ - 1} bytes")

    def ask(request, kind):
        reply = fcntl.ioctl(sock, request, struct.pack(f"{IFNAMSIZ}s24x", os.fsencode(name)))
        return struct.unpack_from(kind, reply, IFNAMSIZ)[0]

    try:
        index = ask(SIOCGIFINDEX, "i")
        kind = ask(SIOCGIFHWADDR, "H")
        if kind not in (ARPHRD_ETHER, ARPHRD_LOOPBACK):
            raise OSError(errno.ENOTSUP, f"the interface {name} is not Ethernet but of type {kind} (ARPHRD_*): its packets are no frames")
        if not ask(SIOCGIFFLAGS, "H") & IFF_UP:
            raise OSError(errno.ENETDOWN, f"the interface {name} is down: ip link set {name} up")
        return index, ask(SIOCGIFMTU, "i")
    except OSError as error:
        if error.errno == errno.ENODEV:
            raise OSError(errno.ENODEV, f"there is no interface {name!r} (`ip link` lists those there are)") from None
        raise


cdef bint has_carrier(int fd, int ifindex) noexcept nogil:
    """Whether an interface, of the namespace of socket `fd`, is up and its link, too (IFF_RUNNING). It may have got another name."""
    cdef ifreq asked
    memset(&asked, 0, sizeof(asked))
    asked.ifr_ifindex = ifindex
    if c_ioctl(fd, SIOCGIFNAME, &asked) < 0 or c_ioctl(fd, SIOCGIFFLAGS, &asked) < 0:
        return False
    return asked.ifr_flags & (IFF_UP | IFF_RUNNING) == IFF_UP | IFF_RUNNING
