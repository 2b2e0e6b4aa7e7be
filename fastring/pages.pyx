"""Huge pages and NUMA nodes, asked of the kernel without a library.

Huge pages are 2 MB ones from the pool that /proc/sys/vm/nr_hugepages fills: a memfd of them needs no mounted hugetlbfs. A mapping
reserves its pages, so there is no SIGBUS later, and where they cannot be had the reason is said.
"""

import errno
import os
from pathlib import Path

from libc.errno cimport errno as libc_errno
from libc.string cimport memset

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void* addr, size_t length, int advice)

cdef extern from *:
    """
    #include <sys/syscall.h>
    #include <unistd.h>
    enum { FR_MPOL_BIND = 2 };                  /* linux/mempolicy.h, which libnuma-dev has and others need not */
    enum { FR_MADV_POPULATE_WRITE = 23 };       /* Linux 5.14 */
    """
    const int SYS_mbind
    const int MPOL_BIND "FR_MPOL_BIND"
    const int MADV_POPULATE_WRITE "FR_MADV_POPULATE_WRITE"
    long syscall(long number, ...) nogil

cdef enum:
    MOST_NODES = 1024
    WORDS = 16                  # of a mask of them

HUGE_PAGE = 2 << 20
MFD_HUGE_2MB = 21 << 26
KERNEL = Path("/sys/kernel/mm/hugepages/hugepages-2048kB")
NODES = Path("/sys/devices/system/node/has_memory")


def huge_memfd(str name):
    """A memfd of huge pages, sealable, and the bytes of one. Raises OSError where the kernel has none."""
    return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING | os.MFD_HUGETLB | MFD_HUGE_2MB), HUGE_PAGE


def why_no_huge_pages(uint64_t size):
    """What stands in the way of `size` bytes of 2 MB pages, or None if nothing seems to."""
    try:
        total, more, unused, reserved = (
            int((KERNEL / f"{of}_hugepages").read_text()) for of in ("nr", "nr_overcommit", "free", "resv")
        )
    except OSError:
        return "this kernel has no huge pages of 2 MB"
    if total == 0 and more == 0:
        return f"{KERNEL}/nr_hugepages is 0"
    needed = (size + HUGE_PAGE - 1) // HUGE_PAGE
    if needed > unused - reserved + more:
        return f"{needed} are needed, and of {KERNEL}/nr_hugepages, {total}, {unused - reserved} are left"
    return None


def numa_nodes():
    """Numbers of the NUMA nodes that have memory; none where the kernel knows no nodes."""
    try:
        text = NODES.read_text().strip()
    except OSError:
        return []
    nodes = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        nodes += range(int(first), int(last or first) + 1)
    return nodes


def check_node(node):
    """Raises OSError ENODEV, naming what there is, if this machine has no such NUMA node with memory."""
    nodes = numa_nodes()
    if node not in nodes or node >= MOST_NODES:
        there = f"it has {', '.join(map(str, nodes))}" if nodes else "its kernel knows no NUMA nodes"
        raise OSError(errno.ENODEV, f"this machine has no NUMA node {node} with memory: {there}")


cdef int bind_to_node(void* base, uint64_t size, int node) except -1:
    """Let all pages of a mapping, none of them touched yet, come from that node alone (mbind, MPOL_BIND)."""
    cdef unsigned long mask[WORDS]
    memset(mask, 0, sizeof(mask))
    mask[node // 64] = 1ul << (node % 64)
    # The kernel takes one bit less than it is told of.
    if syscall(SYS_mbind, base, size, MPOL_BIND, mask, <unsigned long>(MOST_NODES + 1), 0u) < 0:
        raise OSError(libc_errno, f"cannot bind memory to NUMA node {node}: {os.strerror(libc_errno)}")
    return 0


cdef int populate(void* base, uint64_t size) except -1:
    """Get a writable mapping's pages now, zeroed: an error here instead of a SIGBUS at the first touch (a node or a cgroup without any)."""
    if madvise(base, size, MADV_POPULATE_WRITE) < 0 and libc_errno != errno.EINVAL:     # of a kernel that is older
        raise OSError(libc_errno, f"cannot get the pages: {os.strerror(libc_errno)}")
    return 0
