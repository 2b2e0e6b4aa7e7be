from typing import final

from fastring.burst import BurstSink
from fastring.napi import Napi
from softnet.receive import SkbReceiver

@final
class RxSkbs(BurstSink):
    @property
    def csum_good(self) -> int: ...
    @property
    def csum_errors(self) -> int: ...
    @property
    def failed(self) -> int: ...
    def attach(self, receiver: SkbReceiver, errors: BurstSink | Napi, count: int) -> None: ...
