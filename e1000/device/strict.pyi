from typing import Final, Self

from typing_extensions import disjoint_base

from e1000.strict import Breaches

ACCESS_SIZE: Final[int]
NO_REGISTER: Final[int]
READ_ONLY_WRITTEN: Final[int]
WRITE_ONLY_READ: Final[int]
RESERVED_BITS: Final[int]
RESERVED_VALUE: Final[int]
IO_SIZE: Final[int]
IO_UNDEFINED: Final[int]
STATISTIC_ORDER: Final[int]
EERD_BUSY: Final[int]
EERD_UNDONE: Final[int]
EECD_NO_GRANT: Final[int]
MDIC_BUSY: Final[int]
PBA_SIZE: Final[int]
FLOW_THRESHOLDS: Final[int]
RING_UNALIGNED: Final[int]
RING_LENGTH: Final[int]
RING_MOVED: Final[int]
HEAD_WRITTEN: Final[int]
TAIL_OUTSIDE: Final[int]
ENABLED_WITHOUT_RING: Final[int]
DOORBELL_NO_MASTER: Final[int]
RING_FULL: Final[int]
TAIL_PASSES_HEAD: Final[int]
RING_OUTSIDE_MEMORY: Final[int]
RX_BUFFER_SIZE: Final[int]
RX_STATUS: Final[int]
RX_BUFFER_OUTSIDE: Final[int]
RX_BUFFERS_OVERLAP: Final[int]
TX_DONE: Final[int]
TX_NO_EOP: Final[int]
TX_NO_IFCS: Final[int]
TX_LENGTH: Final[int]
TX_TYPE: Final[int]
TX_MIXED: Final[int]
TX_CONTEXT_INSIDE: Final[int]
TX_CONTEXT_RANGE: Final[int]
TX_CHECKSUM_OFFSET: Final[int]
TX_NO_CONTEXT: Final[int]
TX_NO_MSS: Final[int]
TX_HEADER: Final[int]
TX_PAYLOAD: Final[int]

@disjoint_base
class Strict:
    def __new__(cls, breaches: Breaches) -> Self: ...
