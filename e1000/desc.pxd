"""Descriptors as they lie in host memory (§3.2.3, §3.3): 16 bytes, little-endian, read and written as two 64-bit words.

Fetching a word once and taking it apart in registers is not only faster: a host that changes a descriptor
while the device looks at it cannot make two checks see two values.
"""

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    typedef struct { uint64_t address; uint64_t word; } fastring_desc;
    _Static_assert(sizeof(fastring_desc) == 16, "a descriptor is 16 bytes");
    _Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "descriptors are little-endian: this build is not");
    """
    ctypedef struct Desc "fastring_desc":
        uint64_t address            # buffer; context descriptor: checksum offsets
        uint64_t word               # the rest, by the layouts below

# Transmit, second word. Legacy (§3.3.3):  length 15:0, CSO 23:16, CMD 31:24, STA 35:32, CSS 47:40, special 63:48
#   data (§3.3.7):    DTALEN 19:0, DTYP 23:20, DCMD 31:24, STA 35:32, POPTS 47:40, special 63:48
#   context (§3.3.6): PAYLEN 19:0, DTYP 23:20, TUCMD 31:24, STA 35:32, HDRLEN 47:40, MSS 63:48
#     and its first word: IPCSS 7:0, IPCSO 15:8, IPCSE 31:16, TUCSS 39:32, TUCSO 47:40, TUCSE 63:48
cdef enum:
    TXD_CMD_EOP = 1 << 24
    TXD_CMD_IFCS = 1 << 25
    TXD_CMD_IC = 1 << 26            # legacy
    TXD_CMD_TSE = 1 << 26           # data and context
    TXD_CMD_RS = 1 << 27
    TXD_CMD_RPS = 1 << 28
    TXD_CMD_DEXT = 1 << 29
    TXD_CMD_VLE = 1 << 30
    TXD_DTYP_MASK = 0xF << 20
    TXD_DTYP_CONTEXT = 0
    TXD_DTYP_DATA = 1 << 20
    TXD_LEGACY_LENGTH = 0xFFFF
    TXD_DATA_LENGTH = 0xFFFFF
    TXD_TUCMD_TCP = 1 << 24         # context: else UDP
    TXD_TUCMD_IP = 1 << 25          # context: IPv4, else IPv6
    TXD_POPTS_IXSM = 1 << 0         # data: insert the IP checksum
    TXD_POPTS_TXSM = 1 << 1         # data: insert the TCP or UDP checksum

cdef extern from *:
    """
    #define FASTRING_TXD_CMD_IDE (1ull << 31)
    #define FASTRING_TXD_STA_DD (1ull << 32)
    #define FASTRING_TXD_STA_EC (1ull << 33)
    #define FASTRING_TXD_STA_LC (1ull << 34)
    #define FASTRING_TXD_STA_MASK (0xfull << 32)
    """
    const uint64_t TXD_CMD_IDE "FASTRING_TXD_CMD_IDE"
    const uint64_t TXD_STA_DD "FASTRING_TXD_STA_DD"
    const uint64_t TXD_STA_EC "FASTRING_TXD_STA_EC"                 # given up after too many collisions
    const uint64_t TXD_STA_LC "FASTRING_TXD_STA_LC"                 # late collision
    const uint64_t TXD_STA_MASK "FASTRING_TXD_STA_MASK"

cdef inline bint is_context(uint64_t word) noexcept nogil:
    """A context descriptor belongs to no packet, and its bit 24 (TCP) is not EOP (§3.3.6). Nor is a type that does not exist."""
    return word & TXD_CMD_DEXT and word & TXD_DTYP_MASK != TXD_DTYP_DATA


cdef inline uint32_t buffer_length(uint64_t address, uint64_t word) noexcept nogil:
    """Bytes of packet a transmit descriptor leads to: none in a context descriptor, nor at a null address (§3.3.3)."""
    if address == 0 or is_context(word):
        return 0
    return word & TXD_DATA_LENGTH if word & TXD_CMD_DEXT else word & TXD_LEGACY_LENGTH


cdef inline bint is_segmented(uint64_t word) noexcept nogil:
    """Of a packet's first descriptor: whether the packet is to be cut into segments."""
    return word & (TXD_CMD_DEXT | TXD_CMD_TSE) == TXD_CMD_DEXT | TXD_CMD_TSE


cdef inline uint32_t packet_options(uint64_t word) noexcept nogil:
    """Of a packet's first descriptor: its TXD_POPTS_*."""
    return word >> 40 & (TXD_POPTS_IXSM | TXD_POPTS_TXSM) if word & TXD_CMD_DEXT else 0


cdef inline uint32_t special(uint64_t word) noexcept nogil:
    """A VLAN tag."""
    return <uint32_t>(word >> 48)


# Receive, second word (§3.2.3): length 15:0, checksum 31:16, status 39:32, errors 47:40, special 63:48
cdef enum:
    RXD_CHECKSUM_SHIFT = 16
    RXD_SPECIAL_SHIFT = 48

cdef extern from *:
    """
    #define FASTRING_RXD_STAT_DD (1ull << 32)
    #define FASTRING_RXD_STAT_EOP (1ull << 33)
    #define FASTRING_RXD_STAT_IXSM (1ull << 34)
    #define FASTRING_RXD_STAT_VP (1ull << 35)
    #define FASTRING_RXD_STAT_TCPCS (1ull << 37)
    #define FASTRING_RXD_STAT_IPCS (1ull << 38)
    #define FASTRING_RXD_STAT_PIF (1ull << 39)
    #define FASTRING_RXD_ERRORS (0xffull << 40)
    #define FASTRING_RXD_ERROR_CE (1ull << 40)
    #define FASTRING_RXD_ERROR_SE (1ull << 41)
    #define FASTRING_RXD_ERROR_SEQ (1ull << 42)
    #define FASTRING_RXD_ERROR_CXE (1ull << 44)
    #define FASTRING_RXD_ERROR_TCPE (1ull << 45)
    #define FASTRING_RXD_ERROR_IPE (1ull << 46)
    #define FASTRING_RXD_ERROR_RXE (1ull << 47)
    """
    const uint64_t RXD_STAT_DD "FASTRING_RXD_STAT_DD"
    const uint64_t RXD_STAT_EOP "FASTRING_RXD_STAT_EOP"
    const uint64_t RXD_STAT_IXSM "FASTRING_RXD_STAT_IXSM"
    const uint64_t RXD_STAT_VP "FASTRING_RXD_STAT_VP"
    const uint64_t RXD_STAT_TCPCS "FASTRING_RXD_STAT_TCPCS"
    const uint64_t RXD_STAT_IPCS "FASTRING_RXD_STAT_IPCS"
    const uint64_t RXD_STAT_PIF "FASTRING_RXD_STAT_PIF"
    const uint64_t RXD_ERRORS "FASTRING_RXD_ERRORS"
    const uint64_t RXD_ERROR_CE "FASTRING_RXD_ERROR_CE"             # CRC or alignment error
    const uint64_t RXD_ERROR_SE "FASTRING_RXD_ERROR_SE"             # symbol error
    const uint64_t RXD_ERROR_SEQ "FASTRING_RXD_ERROR_SEQ"           # sequence error
    const uint64_t RXD_ERROR_CXE "FASTRING_RXD_ERROR_CXE"           # carrier extension error
    const uint64_t RXD_ERROR_TCPE "FASTRING_RXD_ERROR_TCPE"         # TCP or UDP checksum
    const uint64_t RXD_ERROR_IPE "FASTRING_RXD_ERROR_IPE"           # IP header checksum
    const uint64_t RXD_ERROR_RXE "FASTRING_RXD_ERROR_RXE"
