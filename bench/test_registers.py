"""Register accesses through LocalBus, from Python: what the Linux driver's probe costs.

    pytest bench/test_registers.py
"""

import sys
from pathlib import Path

from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device
from fastring.wire import NullWire

sys.path.append(str(Path(__file__).parent.parent / "tests" / "e1000"))

from linux import Linux


def test_linux_probe(benchmark):
    """Some 11,000 accesses, nearly all of them to the EEPROM's pins; 50 ms is the limit."""
    with HostMemory(size=1 << 20) as memory, E1000Device(wire=NullWire()) as device, LocalBus(device, memory=memory) as bus:

        def probe():
            linux = Linux(bus)
            linux.probe()
            return linux.accesses

        benchmark.extra_info["accesses"] = benchmark(probe)
