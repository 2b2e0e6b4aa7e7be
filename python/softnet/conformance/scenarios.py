"""The conformance run: each scenario makes a Bench, has the driver do something, and raises Failed where it did wrong.

A scenario returns one line that says what was done.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from softnet.conformance.bench import FAR, MS, NEAR, SECOND, Bench, expect, frame
from softnet.conformance.contract import UserDriver
from softnet.conformance.offloads import KINDS, send_kind
from softnet.conformance.rx_checksums import receive_kinds
from softnet.ethernet import ETH_HLEN, VLAN_HLEN

TIMES = 5
JUMBO = 9000
BUDGET = 64  # packets in one softirq: a poll's, if it takes all of them
MOST_DESCRIPTORS = 5120  # more than the card has in a ring, and at the other end
FIRST_SITES = 64  # allocations until it is open that are failed one by one; of later ones every eighth part, and all once it is open


@dataclass
class Options:
    """What a run may be told. `packets`: how many go each way in `traffic`; `probe`: keyword arguments of the driver's probe.

    `alive` is called as `traffic` goes on: the time limit starts anew.
    """

    packets: int = 1_000_000
    probe: dict[str, object] = field(default_factory=dict)
    alive: Callable[[], object] = int


Scenario = Callable[[Bench, Options], str]
SCENARIOS: dict[str, Scenario] = {}


def _scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__.strip("_").replace("_", "-")] = function
    return function


def chosen(names: Sequence[str] | None) -> list[str]:
    """The scenarios of these names, in their order; without names all. Raises ValueError for one that there is not."""
    for name in names or ():
        if name not in SCENARIOS:
            raise ValueError(f"there is no scenario {name!r}: they are {', '.join(SCENARIOS)}")
    return [name for name in SCENARIOS if names is None or name in names]


def listing() -> str:
    """All scenarios, one a line, and what each does."""
    return "\n".join(f"{name:<20}{(scenario.__doc__ or '').strip()}" for name, scenario in SCENARIOS.items())


def run_scenario(name: str, driver: UserDriver, options: Options, made: Callable[[Bench], object]) -> str:
    """Run one; `made` is told of its Bench. Raises Failed, or what the driver raised."""
    budgets = {"slow-wire": {"far_budget": 16}, "overload": {"budget": BUDGET}}
    bench = Bench(driver, probe_options=options.probe, **budgets.get(name, {}))
    made(bench)
    bench.probe()
    done = SCENARIOS[name](bench, options)
    if bench.near.up:
        bench.stop()
    bench.remove()
    bench.close()
    return done


@_scenario
def probe_remove(bench: Bench, options: Options) -> str:
    """probe and remove, again and again"""
    for number in range(TIMES):
        if number:
            bench.probe()
        device = bench.near
        address = device.dev_addr.hex(":")
        expect(device.dev_addr == NEAR, f"the address is {address}, and the EEPROM has {NEAR.hex(':')}", "take the EEPROM's")
        if number < TIMES - 1:
            bench.remove()
    return f"{TIMES} times, nothing left behind"


@_scenario
def open_stop(bench: Bench, options: Options) -> str:
    """open, packets both ways, stop; again and again"""
    before = bench.memory.in_use
    for _ in range(TIMES):
        bench.open()
        bench.exchange()
        bench.stop()
        expect(bench.memory.in_use == before, f"{bench.memory.in_use} bytes and mappings in use after ndo_stop, {before} before ndo_open")
    stats = bench.near.stats64
    for way, count in (("tx", bench.arrived), ("rx", 10 * TIMES)):
        told = getattr(stats, f"{way}_packets")
        expect(told == count, f"{way}_packets is {told} after {count} packets", "count what the card has done, over open and stop too")
    return f"{TIMES} times, {bench.arrived} packets each way"


@_scenario
def stop_in_flight(bench: Bench, options: Options) -> str:
    """stop while packets are in the ring, and then open again"""
    for _ in range(TIMES):
        bench.open()
        bench.lift_byte_limit()
        bench.card.unplug()  # without a link the card holds its packets
        bench.send(bench.frames(20))
        bench.near.stop()
        bench.card.plug(bench.wire)
        bench.conserved()
        bench.quiet()
    stats = bench.near.stats64
    bench.open()
    bench.exchange()
    return f"{TIMES} times, {stats.tx_errors + stats.tx_dropped} packets given up and counted"


@_scenario
def full_ring(bench: Bench, options: Options) -> str:
    """more packets than descriptors, while the other end takes none"""
    near = bench.near
    frames = _fill_ring(bench)
    back = bench.frames(20, to=NEAR, by=FAR)
    bench.offer(back)
    bench.run(50 * MS, far=False)
    bench.expect_received("frames received while the transmit ring was full", back)
    instead = "stop the queue before it is full, and wake it with room only"
    expect(not near.txq.requeues, f"NETDEV_TX_BUSY {near.txq.requeues} times", instead)
    bench.run(100 * MS)
    bench.expect_arrived("frames that waited", frames)
    return f"{len(frames)} frames, {near.txq.stops} stops, {near.txq.wakes} wakes"


def _fill_ring(bench: Bench) -> list[bytes]:
    """Open, and send while the other end takes nothing, until the driver has stopped its queue and more wait; returns the frames."""
    near = bench.near
    near.change_tx_queue_len(2 * MOST_DESCRIPTORS)
    bench.open()
    bench.lift_byte_limit()
    frames: list[bytes] = []
    while len(frames) < MOST_DESCRIPTORS and not (near.tx[0].driver_stopped and near.tx[0].qdisc.qlen > 512) and not near.txq.requeues:
        more = bench.frames(64)
        frames += more
        bench.send(more)
        bench.run(far=False)
    expect(
        near.tx[0].driver_stopped or near.txq.requeues,
        f"{len(frames)} packets wait, and the queue was not stopped",
        "call netif_txq_maybe_stop at the end of ndo_start_xmit",
    )
    return frames


@_scenario
def slow_wire(bench: Bench, options: Options) -> str:
    """the other end takes 16 packets every 2 ms, and the stack has always more"""
    near = bench.near
    bench.open()
    bench.lift_byte_limit()
    wanted: list[bytes] = []
    for _ in range(60):
        if near.tx[0].qdisc.qlen < 100:
            wanted += bench.frames(100)
            bench.send(wanted[-100:])
        bench.stack.run()
        bench.far_poll()
        bench.clock.advance(2 * MS)
    bench.run(SECOND, step=10 * MS)
    bench.expect_arrived("frames over a slow wire", wanted)
    expect(not near.tx[0].trans_timeout, "ndo_tx_timeout was called although packets moved", "complete, and wake, for each interrupt")
    return f"{len(wanted)} frames, {near.txq.stops} stops, {near.txq.wakes} wakes"


@_scenario
def overload(bench: Bench, options: Options) -> str:
    """more packets arrive than a poll may take, and more while it is scheduled"""
    bench.open()
    for _ in range(TIMES):
        back = bench.frames(4 * BUDGET, to=NEAR, by=FAR)
        for start, stop in ((0, 2), (2, 3), (3, 4)):  # so that after each softirq as many wait as it took
            bench.offer_at_once(back[start * BUDGET : stop * BUDGET])
            bench.clock.fire_due()
            bench.stack.softirq.net_rx_action()
            bench.clock.advance(MS)
        bench.run(50 * MS)
        bench.expect_received("frames that came faster than a poll takes them", back)
    return f"{TIMES} times, {4 * BUDGET} packets with {BUDGET} a softirq"


@_scenario
def link_flap(bench: Bench, options: Options) -> str:
    """the cable comes out and goes in again, amid traffic"""
    near = bench.near
    bench.open()
    for _ in range(TIMES):
        bench.exchange()
        bench.card.unplug()
        for _ in range(5):
            bench.send(bench.frames(20))
            bench.run(SECOND, step=100 * MS)
        expect(not near.carrier_ok, "the cable is out, and after 5 s there is a carrier", "call netif_carrier_off at the LSC interrupt")
        bench.card.plug(bench.wire)
        bench.wait_link()
        bench.run(11 * SECOND, step=100 * MS)
        bench.take_arrived()
    bench.exchange()
    return f"{TIMES} times, {bench.sent - bench.arrived} packets lost and counted"


@_scenario
def allocation_failure(bench: Bench, options: Options) -> str:
    """each allocation and mapping fails in turn, from probe to remove"""
    bench.remove()
    memory, failing, failures = bench.memory, 1, 0
    opened = _live_once(bench, 0)
    while True:
        memory.calls, memory.fail_at, memory.failed = 0, failing, False
        try:
            _live_once(bench, failing)
        finally:
            memory.fail_at = 0
        if not memory.failed:
            break
        failures += 1
        failing = min(failing + failing // 8, opened) if FIRST_SITES <= failing < opened else failing + 1
    bench.probe()
    return f"{failures} failures, each survived"


def _live_once(bench: Bench, failing: int) -> int:
    """From probe to remove with one failure on the way, and then with none; returns how many allocations there were until it was open."""
    what = f"allocation {failing} failed"
    try:
        bench.probe()
    except OSError as error:
        _expect_enomem(bench, error, f"{what} in probe")
        expect(not bench.stack.devices, f"{what}, probe raised it, and a device is registered", "undo all that probe did before")
        bench.expect_nothing_left(f"{what} in probe")
        return 0
    before, had_irq = bench.memory.in_use, bench.bus.irq.requested
    try:
        bench.near.open()
    except OSError as error:
        _expect_enomem(bench, error, f"{what} in ndo_open")
        expect(not bench.near.up, f"{what} in ndo_open, and the device is up")
        left = bench.memory.in_use
        expect(left == before, f"{what} in ndo_open: {left} bytes and mappings in use, {before} before", "undo in ndo_open what it did")
        expect(bench.bus.irq.requested == had_irq, f"{what} in ndo_open, and the interrupt has a handler", "undo in ndo_open what it did")
        bench.near.open()
    opened = bench.memory.calls
    bench.wait_link()
    for _ in range(3):
        bench.send(bench.frames(4))
        bench.offer(bench.frames(4, to=NEAR, by=FAR))
        bench.run(20 * MS)
    bench.memory.fail_at = 0
    bench.take_arrived()
    bench.take_received()
    bench.exchange(4)
    bench.near.stop()
    bench.conserved()
    bench.sent = bench.arrived = bench.offered = bench.received = 0
    bench.remove()
    return opened


def _expect_enomem(bench: Bench, error: OSError, what: str) -> None:
    if not bench.memory.failed:
        raise error
    expect(error.errno == errno.ENOMEM, f"{what}, and what came out is {error}", "let the OSError of the allocation through")


@_scenario
def hang(bench: Bench, options: Options) -> str:
    """the card takes no more descriptors: ndo_tx_timeout is to bring traffic back"""
    near = bench.near
    expect(
        hasattr(near.netdev_ops, "tx_timeout"),
        "the driver has no ndo_tx_timeout",
        "give it one, which schedules a reset; the stack calls it when a queue was stopped for 5 s",
    )
    _fill_ring(bench)
    near.promiscuous = True
    bench.run(30 * SECOND, step=100 * MS, far=False)
    timeouts = near.tx[0].trans_timeout
    instead = "stop the queue when the ring is full, and leave the carrier on"
    expect(timeouts, "nothing was sent for 30 s, and ndo_tx_timeout was not called", instead)
    stats = bench.near.stats64
    expect(
        stats.tx_errors + stats.tx_dropped,
        f"ndo_tx_timeout was called {timeouts} times, and the packets in the ring are not given up",
        "have it schedule a reset of the card, in which the packets in flight are freed and counted",
    )
    bench.run(5 * SECOND, step=10 * MS)
    bench.take_arrived()
    bench.exchange(20)
    others = bench.frames(3, to=b"\x52\x54\0\0\0\x99", by=FAR)
    bench.offer(others)
    bench.run(20 * MS)
    bench.expect_received("while promiscuous, frames to others after ndo_tx_timeout's reset", others, "program RCTL again after a reset")
    return f"ndo_tx_timeout {timeouts} times, {bench.sent - bench.arrived} packets given up and counted"


@_scenario
def mtu(bench: Bench, options: Options) -> str:
    """full frames, with a VLAN tag too, at 1500; and at 9000 if the device can"""
    near = bench.near
    bench.open()
    _full_frames(bench)
    if near.max_mtu < JUMBO:
        with suppress(OSError):
            near.mtu = JUMBO
        expect(near.mtu != JUMBO, f"max_mtu is {near.max_mtu}, and MTU {JUMBO} was taken")
        done = f"1500; the device has no {JUMBO}"
    else:
        near.mtu = JUMBO
        bench.wait_link()
        _full_frames(bench)
        near.mtu = 1500
        bench.wait_link()
        done = f"1500, {JUMBO} and back"
    _full_frames(bench)
    return done


def _full_frames(bench: Bench) -> None:
    size = bench.near.mtu + ETH_HLEN
    bench.exchange(10, size)
    bench.exchange(10, size + VLAN_HLEN, vlan=5)
    bench.exchange(10, 60)


@_scenario
def filters(bench: Bench, options: Options) -> str:
    """own address, broadcast, others', groups, promiscuous, allmulti"""
    near = bench.near
    bench.open()
    stranger, group, other_group = bytes.fromhex("525400000099"), bytes.fromhex("01005e000001"), bytes.fromhex("333300abcdef")
    second = bytes.fromhex("5254000000aa")

    def passes(to: bytes, wanted: bool, when: str) -> None:
        bench.offer(bench.frames(3, to=to, by=FAR))
        bench.run(20 * MS)
        got = len(bench.take_received())
        bench.offered -= 3 - got  # what a filter keeps out is no loss
        must = "are to be passed up" if wanted else "are none of this device's"
        expect(got == (3 if wanted else 0), f"{when}, 3 frames to {to.hex(':')} {must}, and {got} were", "program RCTL in ndo_set_rx_mode")

    passes(NEAR, True, "as it is")
    passes(b"\xff" * 6, True, "as it is")
    passes(stranger, False, "as it is")
    near.promiscuous = True
    for to in (stranger, group, other_group):
        passes(to, True, "while promiscuous")
    near.promiscuous = False
    passes(stranger, False, "promiscuous no more")
    near.mc.add(group)
    passes(group, True, "with the group in its list")
    near.mc.delete(group)
    near.set_allmulti(1)
    for to in (group, other_group):
        passes(to, True, "with allmulti")
    near.set_allmulti(-1)
    near.uc.add(second)
    passes(second, True, "with a second address in its list")
    near.uc.delete(second)
    passes(NEAR, True, "in the end")
    return "unicast, multicast, promiscuous, allmulti"


@_scenario
def offloads(bench: Bench, options: Options) -> str:
    """packets in pieces, to be checksummed, segmented and tagged: what arrives is what software makes of them"""
    bench.open()
    for what, make in KINDS.items():
        send_kind(bench, what, make)
    return f"with {', '.join(bench.near.features.names) or 'no features'}"


@_scenario
def rx_checksums(bench: Bench, options: Options) -> str:
    """packets with right and wrong checksums arrive: none is called good that is not"""
    return receive_kinds(bench)


@_scenario
def traffic(bench: Bench, options: Options) -> str:
    """many packets both ways, in order and whole"""
    chunk = 64
    out, back = [[frame(n, to=to, by=by) for n in range(4 * chunk)] for to, by in ((FAR, NEAR), (NEAR, FAR))]
    bench.open()
    for start in range(0, options.packets, chunk):
        count = min(chunk, options.packets - start)
        first = start % (4 * chunk)
        options.alive()
        bench.send(out[first : first + count])
        bench.offer(back[first : first + count])
        bench.run(MS)
        bench.wait_arrived(count)
        bench.expect_arrived(f"frames sent, from number {start} on,", out[first : first + count])
        bench.expect_received(f"frames received, from number {start} on,", back[first : first + count])
    return f"{options.packets:,} frames each way"
