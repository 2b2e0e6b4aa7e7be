NAMES: dict[tuple[str, str | None], int]
BY_NUMBER: dict[int, tuple[str, str | None]]
STRATEGIES: tuple[str, ...]
WAITS: dict[str, int]

def strategy_number(strategy: str, sync: str | None) -> int: ...
