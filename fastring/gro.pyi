from typing_extensions import disjoint_base

@disjoint_base
class GroContext:
    held: int
    error: BaseException | None
    def on_flush(self, old: bool) -> None: ...
