"""scapy over fastring: `conf.L2socket = FastringSocket.on("tap:tap0")`, and whatever sends or sniffs at layer 2 goes through the card.

The only module that imports scapy, which is GPL and a package of its own (`pip install fastring[scapy]`). It uses what scapy asks of
any SuperSocket: send, recv_raw, select, fileno, close. Each socket has a queue of its own, as each packet socket of the kernel has, so a
sniffer and who waits for answers both see every packet. Unlike packet sockets, none of them sees what is sent.
"""

from __future__ import annotations

import errno
import inspect
import math
import select
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from fractions import Fraction
from typing import Any, ClassVar, Self

try:
    from scapy.base_classes import SetGen
    from scapy.config import conf
    from scapy.data import ETH_P_ALL, MTU
    from scapy.layers.l2 import Ether
    from scapy.packet import Packet, Raw
    from scapy.plist import PacketList
    from scapy.sendrecv import sendpfast as scapys_sendpfast
    from scapy.supersocket import SuperSocket
    from scapy.utils import EDecimal
except ImportError as missing:
    raise ImportError("softnet.scapy_io needs scapy 2.5 or later: pip install 'fastring[scapy]'") from missing

from fastring.bpf import FilterSink, Program
from fastring.burst import Burst, BurstSink, RepeatSource
from fastring.pacer import Pacer
from fastring.packet_queue import PacketQueue
from fastring.wire import Wire
from softnet.netdev import NetDevice
from softnet.nic import Nic, lock
from softnet.nic_open import open_nic
from softnet.wire.interface import wire_spec

ROUNDS = 64  # bursts that sendpfast sends without letting other threads at the stack
PASSES = 1000  # over the packets, in one run
LOOP_COUNTS = "count" not in inspect.signature(scapys_sendpfast).parameters  # before scapy 2.6 `loop` is how many times


class FastringSocket(SuperSocket):
    """A layer 2 socket over `iface`: a wire's spec such as "tap:tap0", a Wire, a NetDevice or a Nic; or, where there is that wire, the
    name of an interface of this machine, which is `packet:NAME`.

    Made of a spec or a Wire it plugs in a card of its own, with `options` as open_nic's, and takes it out when closed. `type`, `promisc`
    and `filter` are scapy's. Sending raises OSError EMSGSIZE for a frame too long, TimeoutError when the wire takes nothing; receiving
    raises OSError when it failed.
    """

    desc = "read/write packets at layer 2 through a card of fastring"
    nic_of_class: ClassVar[Nic | None] = None  # `on` made this class for it

    def __init__(
        self,
        iface: Any = None,
        type: int = ETH_P_ALL,
        promisc: bool | None = None,
        filter: str | None = None,
        nofilter: int = 0,
        monitor: bool | None = None,
        **options: Any,
    ) -> None:
        self.closed = True  # until all is made: __del__ closes it
        self.iface = iface
        self.promisc = bool(conf.sniff_promisc if promisc is None else promisc)
        self.nic, self._owns_nic = self._nic_for(iface, options)
        self.queue = PacketQueue()
        self._listener: BurstSink = self.queue
        try:
            wanted = [f"({filter})"] if filter and not nofilter else []
            wanted += [] if type == ETH_P_ALL else [f"ether proto {type}"]
            if wanted:
                self._listener = _filtered(self.queue, " and ".join(wanted))
            self.nic.listen(self._listener)
        except BaseException:
            if self._owns_nic:
                self.nic.close()
            raise
        self.type = type
        own: Any = self
        self.ins = self.outs = own
        self.closed = False

    def _nic_for(self, iface: Any, options: dict[str, Any]) -> tuple[Nic, bool]:
        if self.nic_of_class is not None:
            return self.nic_of_class, False
        if isinstance(iface, Nic):
            return iface, False
        return open_nic(_wire_of(iface), **{"promiscuous": self.promisc, "receive": False, **options}), True

    @classmethod
    def on(cls, wire: Any, **options: Any) -> type[Self]:
        """A socket class whose sockets all share one card on `wire`, whatever interface scapy asks them for: a `conf.L2socket`.

        The card stays until ``conf.L2socket.unplug()``, or the end of the program.
        """
        nic = wire if isinstance(wire, Nic) else open_nic(_wire_of(wire), **{"receive": False, **options})
        return type(f"{cls.__name__}On", (cls,), {"nic_of_class": nic, "desc": f"{cls.desc}, {nic!r}"})

    @classmethod
    def unplug(cls) -> None:
        """Take out the card of a class that `on` made; again is harmless."""
        if cls.nic_of_class is not None:
            cls.nic_of_class.close()

    # --- what scapy calls ---

    def send(self, x: Any) -> int:
        data = bytes(x)
        with suppress(AttributeError):
            x.sent_time = time.time()
        if self.nic.send(data) == 0:
            raise OSError(errno.EMSGSIZE, f"a frame of {len(data)} bytes is too long for {self.nic!r}")
        return len(data)

    def recv_raw(self, x: int = MTU) -> tuple[Any, bytes | None, Any]:
        while not self._has_packets():
            self.nic.sleep(math.inf, self.queue)
        burst = self.queue.take(1)
        if len(burst) == 0:  # another thread was faster
            return Ether, None, None
        return Ether, burst[0][:x], burst.times[0] / 1e9

    def _has_packets(self) -> bool:
        """Let what waits arrive; whether there is a packet to read, or a reason to raise."""
        if self.closed:
            raise EOFError("this socket is closed")
        if len(self.queue) == 0:
            self.nic.run()
        return len(self.queue) > 0

    def fileno(self) -> int:
        """Readable while packets wait in the socket; `select` also lets them come."""
        return -1 if self.closed else self.queue.fileno()

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.nic.unlisten(self._listener)
        if self._owns_nic:
            self.nic.close()

    @staticmethod
    def select(sockets: Sequence[Any], remain: float | None = conf.recv_poll_rate) -> list[Any]:
        """Those that `recv` would not block at: ours, and any others that have a fileno. None: wait for ever."""
        deadline = math.inf if remain is None else time.monotonic() + remain
        ours = [one for one in sockets if isinstance(one, FastringSocket)]
        while True:
            ready = [one for one in ours if one._readable()]
            wait = 0.0 if ready else min([deadline - time.monotonic(), *(one.nic.until_timer() for one in ours)])
            ready += _select(sockets, ours, max(0.0, wait))
            if ready or time.monotonic() >= deadline:
                return ready

    def _readable(self) -> bool:
        try:
            return self._has_packets()
        except (OSError, EOFError):
            return True  # recv tells

    @property
    def drops(self) -> dict[str, int]:
        """Packets that went nowhere, by reason: its card's, and of its own queue."""
        return self.nic.drops | self.queue.drops


def _select(sockets: Sequence[Any], ours: list[FastringSocket], wait: float) -> list[Any]:
    """Sleep until something may have happened at any of them; those among the others that are readable."""
    waiter, others = select.poll(), {}
    for one in ours:
        for number in one.nic.wait_at(one.queue):
            waiter.register(number, select.POLLIN)
    for one in sockets:
        if not isinstance(one, FastringSocket):
            number = one if isinstance(one, int) else one.fileno()
            others[number] = one
            waiter.register(number, select.POLLIN)
    events = waiter.poll(None if wait == math.inf else math.ceil(1000 * wait))
    return [others[number] for number, _ in events if number in others]


def _filtered(sink: BurstSink, expression: str) -> BurstSink:
    """`sink`, shown only what matches. Raises ValueError for an expression that is none, OSError without libpcap."""
    return FilterSink(sink, Program(expression))


def _wire_of(iface: Any) -> str | Wire | NetDevice:
    """What open_nic takes, of what a user or scapy calls an interface."""
    if isinstance(iface, (Wire, NetDevice)):
        return iface
    return wire_spec(str(getattr(iface, "network_name", iface or conf.iface)))


@contextmanager
def scapy_on(wire: Any, **options: Any) -> Iterator[type[FastringSocket]]:
    """Within, scapy's layer 2 is the card on `wire`: conf.L2socket and conf.L2listen, which are then set back, and the card taken out."""
    before = conf.L2socket, conf.L2listen
    bound = FastringSocket.on(wire, **options)
    try:
        conf.L2socket = conf.L2listen = bound
        yield bound
    finally:
        conf.L2socket, conf.L2listen = before
        if not isinstance(wire, Nic):
            bound.unplug()


class PacketBurst(PacketList):
    """scapy's list of the packets of a Burst, with their times to the nanosecond; or of any packets, for their Burst: `burst`."""

    def __init__(self, packets: Burst | Iterable[Any], name: str = "PacketBurst") -> None:
        if isinstance(packets, Burst):
            packets = [_dissected(data, time) for data, time in zip(packets, packets.times, strict=True)]
        super().__init__(list(_each(packets)), name)

    @property
    def burst(self) -> Burst:
        """The packets, built, in a Burst, with their times. Raises ValueError for one that is empty."""
        return Burst.from_packets([bytes(packet) for packet in self], times=[_nanoseconds(packet) for packet in self])


def _dissected(data: bytes, time: int) -> Packet:
    try:
        packet: Packet = Ether(data)
    except Exception:  # as SuperSocket.recv does: a dissector's bug loses no packet
        if conf.debug_dissector:
            raise
        packet = Raw(data)
    packet.time = EDecimal(Decimal(time).scaleb(-9))
    return packet


def _nanoseconds(packet: Any) -> int:
    return round(Decimal(str(getattr(packet, "time", None) or 0)) * 10**9)


def _each(packets: Any) -> Iterator[Any]:
    """The packets that scapy would send: those that a packet or a list of them stands for, one by one."""
    return iter(SetGen(packets)) if not isinstance(packets, (bytes, bytearray)) else iter([packets])


# --- sendpfast ---


def sendpfast(
    x: Any,
    pps: float | None = None,
    mbps: float | None = None,
    realtime: float | None = None,
    count: int | None = None,
    loop: int = 0,
    file_cache: bool = False,
    iface: Any = None,
    replay_args: list[str] | None = None,
    parse_results: bool = False,
) -> dict[str, Any] | None:
    """scapy's sendpfast, through the card: `x` at `pps`, `mbps`, `realtime` times the speed of its time stamps, or as fast as it goes.

    `count` passes, or with `loop` until Ctrl-C; with scapy 2.5, `loop` passes, as there. `iface`: what FastringSocket takes, or a
    FastringSocket; by default what `conf.L2socket` is on. `parse_results`: return scapy's dictionary of what tcpreplay would have printed.
    `file_cache` is how it always is. Raises ValueError for options that contradict each other, and for `replay_args`, tcpreplay's.
    """
    if replay_args:
        raise ValueError(f"there is no tcpreplay here to take {' '.join(replay_args)}")
    if LOOP_COUNTS and not count:
        count, loop = loop, 0
    if count and loop:
        raise ValueError("sendpfast sends `count` times or in a `loop`, not both")
    packets = PacketBurst(x)
    burst = packets.burst
    if not len(burst):
        raise ValueError("there is no packet to send")
    with _nic_to_send_on(iface) as nic:
        run = _FastRun(nic, _pacer_for(nic, pps, mbps, realtime), by_times=pps is None and mbps is None and bool(realtime))
        run.send(burst, None if loop else count or 1)
        return run.results(packets, nic) if parse_results else None


@contextmanager
def _nic_to_send_on(iface: Any) -> Iterator[Nic]:
    """The Nic that is meant, or one made for the while."""
    if iface is None:
        iface = getattr(conf.L2socket, "nic_of_class", None)
    elif isinstance(iface, FastringSocket):
        iface = iface.nic
    if isinstance(iface, Nic):
        yield iface
    else:
        with open_nic(_wire_of(iface), receive=False) as nic:
            yield nic


def _pacer_for(nic: Nic, pps: float | None, mbps: float | None, realtime: float | None) -> Pacer | None:
    """In the order in which scapy looks at them."""
    if pps is not None:
        return Pacer(nic.stack.clock, by="packets", rate=_rate("pps", pps))
    if mbps is not None:
        return Pacer(nic.stack.clock, by="bits", rate=_rate("mbps", mbps) * 10**6)
    if realtime:
        return Pacer(nic.stack.clock, by="times", rate=_rate("realtime", realtime))
    return None


def _rate(name: str, value: float) -> Fraction:
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is a number above 0, not {value!r}")
    return Fraction(value).limit_denominator(10**6)


class _FastRun:
    """One call of sendpfast: what it sent, and when."""

    def __init__(self, nic: Nic, pacer: Pacer | None, *, by_times: bool) -> None:
        if nic.device is None:
            raise ValueError(f"sendpfast needs a card, which {nic!r} lacks")
        self.pacer, self.by_times = pacer, by_times
        self.passes = 0
        self.sender = nic.device.transmitter(pacer=pacer)
        self.started = self.ended = time.monotonic()

    def send(self, burst: Burst, passes: int | None) -> None:
        """Ctrl-C ends it, as it does in scapy's."""
        with suppress(KeyboardInterrupt):
            while passes is None or self.passes < passes:
                # Packets whose times matter start anew with each pass; all others are one long run.
                several = 1 if self.by_times else PASSES if passes is None else min(PASSES, passes - self.passes)
                source, going = RepeatSource(burst, packets=len(burst) * several), True
                while going:
                    with lock:
                        going = self.sender.play(source, rounds=ROUNDS)
                self.passes += several
                if self.by_times and self.pacer is not None:
                    self.pacer.pause()
        self.ended = time.monotonic()

    def results(self, packets: PacketBurst, nic: Nic) -> dict[str, Any]:
        """What scapy's _parse_tcpreplay_result makes of tcpreplay's output."""
        sent, size, seconds = self.sender.packets, self.sender.bytes, max(self.ended - self.started, 1e-9)
        flows = [_flow(packet) for packet in packets]
        number = len({flow for flow in flows if flow is not None})
        non_flow = flows.count(None) * self.passes
        return {
            "packets": sent, "bytes": size, "time": seconds,
            "bps": size / seconds, "mbps": 8e-6 * size / seconds, "pps": sent / seconds,
            "flows": number, "fps": number / seconds, "flow_packets": max(0, sent - non_flow), "non_flow": non_flow,
            "attempted": sent + self.sender.oversize, "successful": sent, "failed": self.sender.oversize,
            "truncated": 0, "retried_enobufs": 0, "retried_eagain": 0,
            "command": f"softnet.scapy_io.sendpfast on {nic!r}",
            "warnings": [f"{self.sender.oversize} packets were too long for the MTU"] if self.sender.oversize else [],
        }  # fmt: skip


def _flow(packet: Any) -> tuple[Any, ...] | None:
    """What tcpreplay takes for a flow: addresses, protocol and ports of an IP packet."""
    for name, protocol in (("IP", "proto"), ("IPv6", "nh")):
        if packet.haslayer(name):
            layer = packet[name]
            ports = (getattr(layer.payload, "sport", None), getattr(layer.payload, "dport", None))
            return (name, layer.src, layer.dst, getattr(layer, protocol), *ports)
    return None


__all__ = ["FastringSocket", "PacketBurst", "scapy_on", "sendpfast"]
