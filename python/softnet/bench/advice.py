"""What to choose on a machine, by what was measured there and by nothing else: a function of the figures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from softnet.bench.series import Comparison, Series, figure

ENOUGH = 1.05  # times as fast, to be worth leaving a default for
ALIKE = 1.10  # what more of something has to gain, to be worth more of it
MOST_ROUNDS = 2 / 3  # of them it has to win


@dataclass(frozen=True)
class Advice:
    """`about`: the question's key. `choose`: what to take, by its name in the figures. `text`: that in a sentence, with its reason."""

    about: str
    choose: str
    text: str


def advise(found: Mapping[str, Comparison], *, cpus: int) -> list[Advice]:
    """One for each question in `found`, by their keys (softnet.bench.suite); questions that were not answered have none."""
    told: list[Advice] = []
    for key, what in STRATEGY_FOR.items():
        if key in found:
            told.append(_strategy(key, what, found[key]))
    if "many" in found:
        told.append(_strategy("many", "for several producers or consumers", found["many"], default="mpmc"))
    for key, what, default in POOL_FOR:
        if key in found:
            told.append(_strategy(key, what, found[key], default=default))
    if "batch" in found:
        told.append(_batch(found["batch"]))
    if "capacity" in found:
        told.append(_capacity(found["capacity"]))
    if "wait" in found:
        told.append(_wait(found["wait"], cpus))
    if "driver" in found:
        told.append(_driver(found["driver"]))
    return told


STRATEGY_FOR = {
    "bulk": "for bulk between two threads",
    "single": "for single items between two threads",
    "processes": "for bulk between two processes",
    "latency": "for latency between two threads",
    "latency between processes": "for latency between two processes",
    "one thread": "within one thread",
}

POOL_FOR = (
    ("pool", "pool of one thread", "lifo"),
    ("pool for two", "pool whose buffers are given back on another thread", "lifo, cache"),
)


def better(found: Comparison, one: Series, than: Series, least: float = ENOUGH) -> bool:
    """Whether it is faster by enough, and in most rounds: not by one lucky one."""
    ratio = found.ratio(one, than) or 0.0
    wins = sum(ours < theirs for ours, theirs in zip(one.values, than.values, strict=True))
    return ratio >= least and wins >= MOST_ROUNDS * len(one.values)


def choice(found: Comparison, default: str) -> Series:
    """The best; the default unless that is better by enough."""
    usual = found.named(default)
    return next((one for one in found.ranked if better(found, one, usual)), usual)


def _figures(found: Comparison, one: Series, than: Series) -> str:
    return f"{figure(one.median)} against {figure(than.median)} {found.unit.partition(',')[0]}"


def _strategy(key: str, what: str, found: Comparison, default: str = "cached") -> Advice:
    usual, best = found.named(default), choice(found, default)
    if best is usual:
        reason = f"{figure(usual.median)} {found.unit.partition(',')[0]}; no other one is faster by 5 % in most rounds"
    else:
        reason = f"{found.ratio(best, usual):.1f} times as fast as {default}: {_figures(found, best, usual)}"
    if best.trips:
        reason += f"; 1 in 1,000 took {figure(best.tails()[1])} or more"
    return Advice(key, best.name, f"{what}: {best.name} ({reason})")


def _smallest(found: Comparison) -> Series:
    """The first one in order that no later one beats by 10 %."""
    for number, one in enumerate(found.series):
        if not any(better(found, larger, one, ALIKE) for larger in found.series[number + 1 :]):
            return one
    raise ValueError("nothing was measured")


def _batch(found: Comparison) -> Advice:
    one, single = _smallest(found), found.named("1")
    if one is single:
        return Advice("batch", "1", f"batch: single items ({figure(one.median)} {found.unit}); bulks gain less than 10 %")
    ratio = found.ratio(one, single)
    return Advice("batch", one.name, f"batch: bulks of {one.name} ({ratio:.1f} times as fast as single items: "
                                     f"{_figures(found, one, single)}); larger ones gain less than 10 %")


def _capacity(found: Comparison) -> Advice:
    one = _smallest(found)
    return Advice("capacity", one.name, f"capacity: {one.name} items ({figure(one.median)} {found.unit}); more gain less than 10 %")


def _wait(found: Comparison, cpus: int) -> Advice:
    parked = found.named("parks at once")
    if cpus < 2:
        return Advice("wait", parked.name, "wait: park at once, wait='futex' and spin=0: "
                                           "on one CPU who spins keeps the other side from its work")
    best = choice(found, parked.name)
    if best is parked:
        return Advice("wait", parked.name, f"wait: park at once, wait='futex' and spin=0 ({figure(parked.median)} ns there and back): "
                                           "spinning gains less than 5 %")
    saved = (parked.median - best.median) / 1000
    return Advice("wait", best.name, f"wait: poll, or spin before parking, where {figure(saved)} µs a round trip matter "
                                     f"({_figures(found, best, parked)}); park (wait='futex', spin=0) where a side is idle for long: "
                                     "it leaves its CPU to others")


def _driver(found: Comparison) -> Advice:
    usual, best = found.named("default"), choice(found, "default")
    if best is usual:
        return Advice("driver", usual.name, f"driver: its defaults ({figure(usual.median)} CPU ns a packet); no other setting gains 5 %")
    return Advice("driver", best.name, f"driver: {best.name} ({found.ratio(best, usual):.2f} times as fast as the defaults: "
                                       f"{_figures(found, best, usual)})")


def sentences(told: list[Advice], *, noisy: bool) -> Iterator[str]:
    """For people; `noisy`: that the figures come from a machine which was."""
    for one in told:
        yield one.text
    if noisy and told:
        yield "the machine was noisy: ask it again when it is quiet, before you settle on any of this"
