"""The rules that softnet checks, as data: where each is written, what it is about, what breaks it, what to do instead.

`document` is one of the kernel's, by its title and its place in Documentation/.
"""

from __future__ import annotations

from dataclasses import dataclass

DRIVER = "Softnet Driver Issues (networking/driver)"
NETDEVICES = "Network Devices, the Kernel, and You! (networking/netdevices)"
NAPI = "NAPI (networking/napi)"
DMA_API = "Dynamic DMA mapping using the generic device (core-api/dma-api)"


@dataclass(frozen=True)
class Rule:
    """One rule. `topic`: what its sentence is about; `operation`: whom it binds; `wrong`: what breaks it; `instead`: what to do."""

    number: int
    name: str
    document: str
    topic: str
    operation: str
    wrong: str
    instead: str

    def __str__(self) -> str:
        return f"rule {self.number} ({self.name})"


_RULES = (
    Rule(
        1, "busy-while-awake", DRIVER, "Stop queues in advance", "ndo_start_xmit",
        "NETDEV_TX_BUSY although the queue was awake",
        "stop the queue in the call that takes the last room, so that there is no next call; BUSY is for the rare race, and is logged",
    ),
    Rule(
        2, "queue-not-stopped-in-advance", DRIVER, "Stop queues in advance", "ndo_start_xmit",
        "OK, with the queue awake and no room for one more packet of MAX_SKB_FRAGS + 1 pieces",
        "call netif_txq_maybe_stop at the end of every ndo_start_xmit, with MAX_SKB_FRAGS + 1 to stop and 2 * MAX_SKB_FRAGS to start again",
    ),
    Rule(
        3, "wake-without-room", DRIVER, "Lockless queue stop / wake helper macros", "netif_tx_wake_queue",
        "the queue is woken with no room in the ring, or stopped and woken where the helpers must not be used",
        "stop from ndo_start_xmit, wake from the poll that reclaims, with netif_txq_completed_wake, and only with the start threshold free",
    ),
    Rule(
        4, "index-published-late", DRIVER, "Lockless queue stop / wake helper macros", "netif_txq_maybe_stop",
        "a stop or wake helper is called before the ring's index says what was just put in or taken out",
        "publish the producer (or consumer) index first, then call the helper",
    ),
    Rule(
        5, "skb-touched-after-busy", DRIVER, "Timely completions", "ndo_start_xmit",
        "NETDEV_TX_BUSY, and the packet was kept, freed, or put in the ring",
        "look whether there is room before anything else, and leave a packet that you refuse as it is: it is the caller's",
    ),
    Rule(
        6, "skb-never-freed", DRIVER, "Timely completions", "ndo_start_xmit",
        "a packet was taken and is not freed in finite time when none follows",
        "reclaim from an interrupt or a timer, not only in the next ndo_start_xmit, and have the last packet of a run report its end",
    ),
    Rule(
        7, "cloned-skb-modified", DRIVER, "No exclusive ownership", "ndo_start_xmit",
        "the shared part of a cloned packet was written to",
        "call cow_head (skb_cow_head) before you write to headers, or unshare (skb_unshare) before you write anywhere",
    ),
    Rule(
        8, "trans-start-not-moved", NETDEVICES, "ndo_start_xmit", "ndo_start_xmit",
        "packets were taken, and the queue's trans_start did not move",
        "with LLTX, or past dev_hard_start_xmit, the driver calls txq_trans_cond_update for what it takes: the watchdog counts from it",
    ),
    Rule(
        9, "invalid-hardware-address", DRIVER, "Address validation", "register_netdev",
        "a device with an address that is a group's, all zero, or not of six bytes",
        "check what the EEPROM gives with is_valid_ether_addr, and take eth_hw_addr_random if it will not do",
    ),
    Rule(
        10, "active-after-stop", DRIVER, "Close/stop guidelines", "ndo_stop",
        "DMA, a delivery, an interrupt or a timer after ndo_stop, or packets in flight that were not given up",
        "disable units and interrupts, wait for a reset to end, cancel timers, and free every packet of the ring before ndo_stop returns",
    ),
    Rule(
        11, "unregistered-while-up", DRIVER, "Close/stop guidelines", "unregister_netdev",
        "the device was taken away while it was up, without its ndo_stop",
        "leave it to unregister_netdev, which stops it, and release the card only after that",
    ),
    Rule(
        12, "device-lifetime", NETDEVICES, "struct net_device allocation rules", "free_netdev",
        "used after free_netdev, private data freed early or leaked, a reference never given back",
        "free what priv refers to after unregister_netdev, call free_netdev last, and pair every dev_hold with a dev_put",
    ),
    Rule(
        13, "mtu-not-kept", NETDEVICES, "MTU", "ndo_start_xmit",
        "a packet longer than the MTU and its headers was sent to the driver or passed up, or one that fits with its tag was refused",
        "receive at least MTU + 18 bytes, with one VLAN tag; drop what is longer; size buffers in ndo_change_mtu",
    ),
    Rule(
        14, "wrong-context", NETDEVICES, "struct net_device synchronization rules", "any",
        "an operation ran without its lock, held one it must not, or slept in an atomic context",
        "call it as the table says: rtnl, the transmit lock (not with LLTX), the address lock; and let none that runs with BHs off sleep",
    ),
    Rule(
        15, "napi-misused", NAPI, "Driver API", "napi poll",
        "more work than the budget, complete at a full budget, interrupts on while scheduled, unmasked too early, a poll while disabled",
        "return at most the budget; with less done napi_complete_done, and unmask only if it says so; with budget 0 only reclaim",
    ),
    Rule(
        16, "bql-unbalanced", DRIVER, "Stop queues in advance", "netdev_tx_completed_queue",
        "more bytes completed than sent, or the queue not reset when the ring was emptied",
        "count the same length in netdev_tx_sent_queue and netdev_tx_completed_queue, and call netdev_tx_reset_queue in ndo_stop",
    ),
    Rule(
        17, "dma-mapping", DMA_API, "Part Ib and Id - DMA mappings", "dma_unmap_single",
        "a mapping was unmapped twice, leaked, used after its unmap, or written by the CPU while the device owned it",
        "unmap each mapping once, when the descriptor says the device is done, and touch the memory only before and after",
    ),
    Rule(
        18, "descriptor-published-early", DMA_API, "Part Ia - coherent memory", "ndo_start_xmit",
        "the device was told of a descriptor that was not complete",
        "write the whole descriptor, then dma_wmb, then the tail register",
    ),
    Rule(
        19, "carrier-and-timeout", NETDEVICES, "struct net_device synchronization rules", "ndo_tx_timeout",
        "the carrier is on while the device is down, or ndo_tx_timeout sleeps, is missing, or does not get traffic going again",
        "carrier off in probe and ndo_stop, on when the link is up; ndo_tx_timeout schedules a reset, after which the queue is woken",
    ),
)

RULES: dict[int, Rule] = {rule.number: rule for rule in _RULES}
