"""The host's network interfaces, as the wires that send and receive there have to know them: netdevice(7)."""

import errno
import fcntl
import os
import struct

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset
from posix.time cimport clock_gettime, timespec

cdef extern from *:
    """
    #include <net/if.h>
    #include <net/if_arp.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>
    #include <time.h>
    #include <linux/ethtool.h>
    #include <linux/sockios.h>
    """
    const int IFNAMSIZ, IFF_UP, IFF_RUNNING, ARPHRD_ETHER, ARPHRD_LOOPBACK
    const unsigned long SIOCGIFINDEX, SIOCGIFFLAGS, SIOCGIFHWADDR, SIOCGIFMTU, SIOCGIFNAME, SIOCETHTOOL
    const unsigned int ETHTOOL_GLINK
    ctypedef struct ifreq "struct ifreq":
        int ifr_ifindex
        short ifr_flags
        char* ifr_data
    ctypedef struct ethtool_value "struct ethtool_value":
        unsigned int cmd, data
    const int SOL_SOCKET, SO_ERROR, CLOCK_MONOTONIC_COARSE
    int getsockopt(int fd, int level, int option, void* value, uint32_t* length) nogil
    int c_ioctl "ioctl"(int fd, unsigned long request, ifreq* argument) nogil


cdef enum:
    ASK_INTERVAL = 10_000_000       # ns between two looks at what became of an interface


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
    """Whether an interface, of the namespace of socket `fd`, is up and its link, too. It may have got another name."""
    cdef ifreq asked
    cdef ethtool_value link = ethtool_value(ETHTOOL_GLINK, 0)
    memset(&asked, 0, sizeof(asked))
    asked.ifr_ifindex = ifindex
    if c_ioctl(fd, SIOCGIFNAME, &asked) < 0 or c_ioctl(fd, SIOCGIFFLAGS, &asked) < 0 or not asked.ifr_flags & IFF_UP:
        return False
    if asked.ifr_flags & IFF_RUNNING == 0:
        return False
    asked.ifr_data = <char*>&link              # IFF_RUNNING follows the carrier by up to a second (linkwatch)
    return c_ioctl(fd, SIOCETHTOOL, &asked) < 0 or link.data != 0


cdef int socket_error(int fd, int64_t* asked) noexcept nogil:
    """Take a socket's error (SO_ERROR), which would make it readable for ever; or return -1 if it was `asked` for a moment ago.

    For who finds that nothing has arrived, by memory shared with the kernel: this is the only system call, and too dear for each time.
    """
    cdef timespec now
    cdef int64_t nanoseconds
    cdef int error = 0
    cdef uint32_t length = sizeof(error)
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now)
    nanoseconds = <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
    if nanoseconds - asked[0] < ASK_INTERVAL:
        return -1
    asked[0] = nanoseconds
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length)
    return error
