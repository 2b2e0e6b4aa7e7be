from typing import Final

from e1000.driver.txring import TxRing
from softnet.netdev_ops import NetdevTx
from softnet.skbuff import SkBuff

MAX_OFFSET: Final[int]

def start_xmit(ring: TxRing, skb: SkBuff) -> NetdevTx: ...
