"""What wires over sockets ask of the kernel."""

from libc.stdint cimport uint32_t
from posix.time cimport itimerspec

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        void* msg_name
        socklen_t msg_namelen
        iovec* msg_iov
        size_t msg_iovlen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int AF_UNIX, AF_INET, MSG_DONTWAIT, MSG_NOSIGNAL, MSG_TRUNC, SOCK_NONBLOCK, SOCK_CLOEXEC, SOL_SOCKET, SO_ERROR
    int sendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags)
    int recvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags, void* timeout)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    ssize_t c_send "send"(int fd, const void* data, size_t size, int flags)
    ssize_t c_recv "recv"(int fd, void* data, size_t size, int flags)
    int c_connect "connect"(int fd, const sockaddr* address, socklen_t length)
    int accept4(int fd, sockaddr* address, socklen_t* length, int flags)
    int getsockname(int fd, sockaddr* address, socklen_t* length)
    int getsockopt(int fd, int level, int name, void* value, socklen_t* length)

cdef extern from "<linux/sock_diag.h>" nogil:
    enum:
        SK_MEMINFO_DROPS
        SK_MEMINFO_VARS

cdef extern from *:
    """
    #ifndef SO_MEMINFO
    #define SO_MEMINFO 55           /* <asm/socket.h> */
    #endif
    """
    int SO_MEMINFO

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events, revents
    int POLLIN, POLLOUT
    int c_poll "poll"(pollfd* fds, unsigned long count, int timeout)

cdef extern from "<sys/epoll.h>" nogil:
    struct epoll_event:
        uint32_t events
    int EPOLLIN, EPOLLOUT, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CLOEXEC
    int epoll_create1(int flags)
    int epoll_ctl(int epoll, int what, int fd, epoll_event* event)

cdef extern from "<sys/timerfd.h>" nogil:
    int TFD_NONBLOCK, TFD_CLOEXEC
    int timerfd_create(int clock, int flags)
    int timerfd_settime(int fd, int flags, const itimerspec* value, itimerspec* old)

cdef extern from "<unistd.h>" nogil:
    ssize_t c_read "read"(int fd, void* data, size_t count)
    ssize_t c_write "write"(int fd, const void* data, size_t count)
    int c_close "close"(int fd)


cdef inline bint ready(int fd, int events, int timeout) noexcept nogil:
    """Whether a descriptor has one of the events, or an error, within so many ms."""
    cdef pollfd waited
    waited.fd = fd
    waited.events = <short>events
    waited.revents = 0
    return c_poll(&waited, 1, timeout) > 0
