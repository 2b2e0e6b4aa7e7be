"""Huge pages and NUMA nodes, asked of the kernel without a library."""

from libc.stdint cimport uint64_t

cdef int bind_to_node(void* base, uint64_t size, int node) except -1
cdef int populate(void* base, uint64_t size) except -1
