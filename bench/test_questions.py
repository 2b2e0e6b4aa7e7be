"""Rings, pools and settings compared, a question at a time: ours and other people's take turns, each told beside the best of the others.

    pytest bench/test_questions.py --benchmark-group-by=group

What was measured in turns is handed to pytest-benchmark afterwards, a second for each nanosecond. Tables with ratios follow at the end.
"""

from functools import cache

import pytest
from peers import Unavailable
from questions import QUESTIONS, close, partner, two_cpus

from fastring.ring import Ring
from softnet.bench.machine import Noise, describe


class Clock:
    """The time that a measurement of before took passes when it is played."""

    seconds = 0.0

    def play(self, value):
        self.seconds += value

    def __call__(self):
        return self.seconds


clock = Clock()


def the_clock():
    return clock()


@pytest.fixture(scope="module")
def noise(request):
    try:
        watch = Noise(two_cpus(), pids=[partner().pid])
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield watch
    told = ", ".join(f"{name} {what}" for name, what in describe().items())
    request.config.tables = [*map(str, answers.values()), f"measured on: {told}", watch.verdict()]
    close()


answers = {}


@cache
def answer(name, noise):
    answers[name] = QUESTIONS[name].answer(noise)
    return answers[name]


CASES = [(asked.name, who) for asked in QUESTIONS.values() for who in asked.measures]


@pytest.mark.parametrize(("name", "who"), CASES, ids=[f"{name}: {who}" for name, who in CASES])
@pytest.mark.benchmark(timer=the_clock)
def test_question(benchmark, noise, name, who):
    if reason := QUESTIONS[name].missing().get(who):
        pytest.skip(reason)
    found = answer(name, noise)
    one = found.named(who)
    benchmark.group = f"{name} ({found.unit})"
    values = iter(one.values)
    benchmark.pedantic(lambda: clock.play(next(values)), rounds=len(one.values))
    benchmark.extra_info["of the best peer"] = found.ratio(one)
    for name, tail in zip(("p99", "p99.9"), one.tails(), strict=False):
        benchmark.extra_info[name] = tail


def test_push_and_pop_from_python(benchmark):
    ring = Ring(1024)

    def push_pop():
        ring.push(7)
        return ring.pop()

    benchmark.group = "one item from Python, one thread"
    assert benchmark(push_pop) == 7
