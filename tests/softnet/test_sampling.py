"""Samples of what devices count: taken by the clock, kept in bounded memory, and told to who listens."""

import json
from itertools import pairwise

import pytest

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, CountingSink
from fastring.clock import VirtualClock
from fastring.wire import pair
from softnet import NetDevice, Stack, sampling
from softnet.sampling import Sampler, StatsFile, rates, series

MS = 1_000_000


@pytest.fixture
def stack():
    with Stack(clock=VirtualClock()) as stack:
        yield stack


@pytest.fixture
def devices(stack):
    ends = pair()
    near, far = (probe(LocalBus(E1000Device(wire=end, clock=stack.clock)), stack, rx_usecs=0) for end in ends)
    far.sink, far.promiscuous = CountingSink(), True
    with near, far:
        for _ in range(50):
            stack.clock.advance(100 * MS)
            stack.run()
        yield near, far


def send(stack, device, frames):
    device.xmit(Burst.from_packets([bytes(60)] * frames))
    stack.run()


def test_a_sample_is_taken_at_each_interval_and_at_both_ends(stack, devices):
    near, far = devices
    with Sampler(stack.clock, devices, interval=0.1) as sampler:
        for frames in (5, 0, 7):
            send(stack, near, frames) if frames else None
            stack.clock.advance(100 * MS)
        send(stack, near, 2)
    assert [sample.seconds for sample in sampler.samples] == [0.0, 0.1, 0.2, 0.3, 0.3]
    assert [sample.devices[near.name].tx_packets for sample in sampler.samples] == [0, 5, 5, 12, 14]
    assert [sample.devices[far.name].rx_packets for sample in sampler.samples] == [0, 5, 5, 12, 14]
    last = sampler.samples[-1].devices[far.name]
    assert (last.rx_bytes, last.dropped, last.polled_packets) == (14 * 60, 0, 14)
    assert last.interrupts > 0
    assert last.polls > 0


def test_after_its_end_it_takes_no_more(stack, devices):
    with Sampler(stack.clock, devices, interval=0.1) as sampler:
        pass
    taken = len(sampler.samples)
    stack.clock.advance(1000 * MS)
    sampler.stop()
    assert len(sampler.samples) == taken
    assert stack.clock.next_deadline is None or not sampler._timer


def test_however_long_it_runs_it_keeps_so_many_and_both_ends(stack, devices, monkeypatch):
    monkeypatch.setattr(sampling, "MOST_SAMPLES", 10)
    heard = []
    with Sampler(stack.clock, devices, interval=0.1) as sampler:
        sampler.listeners.append(heard.append)
        for _ in range(1000):
            stack.clock.advance(100 * MS)
    assert len(heard) == 1001
    assert 5 <= len(sampler.samples) <= 11
    seconds = [sample.seconds for sample in sampler.samples]
    assert (seconds[0], seconds[-1]) == (0.0, 100.0)
    steps = {round(b - a, 6) for a, b in pairwise(seconds[:-1])}
    assert len(steps) == 1, "they are not evenly apart"


def test_what_a_listener_raises_is_raised_by_who_runs_the_clock(stack, devices):
    sampler = Sampler(stack.clock, devices, interval=0.1)
    sampler.start()

    def full(sample):
        raise OSError(28, "No space left on device")

    sampler.listeners.append(full)
    with pytest.raises(OSError, match="No space"):
        stack.clock.advance(100 * MS)
    sampler.listeners.clear()
    sampler.stop()


def test_a_device_of_any_driver_is_sampled(stack):
    class Driver:
        def open(self, device):
            pass

        def stop(self, device):
            pass

    sample = sampling.sample_device(NetDevice(stack, Driver(), dev_addr=b"\x02" + bytes(5)))
    assert sample.tx_packets == sample.interrupts == sample.tx_in_flight == 0


@pytest.mark.parametrize("interval", [0, -1, 2e6, float("nan")])
def test_an_interval_that_is_none_is_refused(stack, interval):
    with pytest.raises(ValueError, match="every 0 to 1e6 seconds"):
        Sampler(stack.clock, [], interval=interval)


def test_columns_and_rates(stack, devices):
    with Sampler(stack.clock, devices, interval=0.5) as sampler:
        send(stack, devices[0], 50)
        stack.clock.advance(500 * MS)
    told = series(sampler.samples)
    assert told["seconds"] == [0.0, 0.5, 0.5]
    columns = told["devices"][devices[0].name]
    assert columns["tx_packets"] == [0, 50, 50]
    assert rates(told["seconds"], columns["tx_packets"]) == [0.0, 100.0, 0.0]
    assert rates([], []) == []
    assert json.loads(json.dumps(told)) == told


def test_a_stats_file_has_a_json_object_a_line(stack, devices, tmp_path):
    path = tmp_path / "stats.jsonl"
    file = StatsFile(path)
    with Sampler(stack.clock, devices, interval=0.1) as sampler:
        sampler.listeners.append(file)
        send(stack, devices[0], 3)
        stack.clock.advance(200 * MS)
        assert len(path.read_text().splitlines()) == 2, "what was sampled is there at once"
    file.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["seconds"] for line in lines] == [0.1, 0.2, 0.2]
    assert lines[-1]["devices"][devices[0].name]["tx_packets"] == 3


def test_a_stats_file_that_is_full_ends_itself_alone(stack, devices):
    file = StatsFile("/dev/full")
    with Sampler(stack.clock, devices, interval=0.1) as sampler:
        sampler.listeners.append(file)
        stack.clock.advance(300 * MS)
    file.close()
    assert (file.error.strerror, file.error.filename, file.lost) == ("No space left on device", "/dev/full", 4)
