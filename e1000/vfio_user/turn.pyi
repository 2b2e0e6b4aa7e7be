from e1000.vfio_user.served import ServedCard
from fastring.clock import Clock

def take_turn(cards: list[ServedCard], clocks: list[Clock], spin: int, most: int) -> bool: ...
