"""The world at the far end of a forwarding card's wire."""

from scapy.all import Ether

from e1000.bus import LocalBus
from e1000.device import E1000Device
from e1000.driver import probe
from fastring.burst import Burst, BurstSink
from fastring.port import WirePort
from fastring.wire import pair
from softnet import Stack


class Far(BurstSink):
    """Another end of a cable, without a card: sends, and keeps what comes. `takes=False`: nobody is there, and the cable is full."""

    def __init__(self, *, takes=True):
        self.wire, self.end = pair()
        self.packets = []
        self.port = WirePort(self.end, sink=self) if takes else None
        if not takes:  # a card whose stack never runs holds the wire up, once its ring is full
            self.device = probe(LocalBus(E1000Device(wire=self.end)), Stack())
            self.device.promiscuous = True
            self.device.__enter__()

    def send(self, packets):
        if packets:
            assert self.port.send(Burst.from_packets([bytes(packet).ljust(60, b"\0") for packet in packets])) == len(packets)

    def on_burst(self, burst):
        self.packets += map(Ether, burst)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.port is not None:
            self.port.close()
        else:
            self.device.unregister()
