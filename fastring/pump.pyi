"""pump: bursts from a source straight into a sink, with no card between them."""

from fastring.burst import Burst, BurstSink, BurstSource

def pump(source: BurstSource, sink: BurstSink, burst: Burst, *, rounds: int = 1000) -> bool: ...
