from typing_extensions import disjoint_base

from fastring.capture_writer import CaptureWriter
from fastring.clock import Clock
from fastring.wire import Wire
from fastring.wrapper import WrapperWire

@disjoint_base
class TeeWire(WrapperWire):
    def __init__(self, wire: Wire, writer: CaptureWriter, *, clock: Clock) -> None: ...
    @property
    def writer(self) -> CaptureWriter: ...
    @property
    def unrecorded(self) -> int: ...
