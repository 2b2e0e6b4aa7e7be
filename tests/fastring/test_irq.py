"""IrqLine: level-triggered, so nothing is queued and nothing is lost."""

import errno

import pytest

from fastring.irq import IrqLine


@pytest.fixture
def line():
    return IrqLine()


def test_only_low_to_high_changes_count_as_raised(line):
    line.raise_irq()
    line.raise_irq()
    line.lower_irq()
    line.lower_irq()
    line.raise_irq()
    assert line.raised == 2
    assert line.asserted


def test_the_handler_runs_only_while_the_line_is_up(line):
    calls = []
    line.request_irq(lambda: calls.append(1))
    assert line.handle_irq() is False
    line.raise_irq()
    assert line.handle_irq() is True
    line.lower_irq()
    assert line.handle_irq() is False
    assert (calls, line.handled) == ([1], 1)


def test_a_line_left_up_runs_its_handler_again_but_once_each_time(line):
    calls = []
    line.request_irq(lambda: calls.append(1))
    line.raise_irq()
    line.handle_irq()
    line.handle_irq()
    assert (len(calls), line.handled, line.raised) == (2, 2, 1)


def test_a_line_without_handler_stays_up_for_the_one_to_come(line):
    line.raise_irq()
    assert line.handle_irq() is False
    line.request_irq(line.lower_irq)
    assert line.handle_irq() is True
    assert not line.asserted


def test_a_second_handler_is_refused_until_the_first_is_freed(line):
    line.request_irq(print)
    with pytest.raises(OSError, match="has a handler") as error:
        line.request_irq(print)
    assert error.value.errno == errno.EBUSY
    line.free_irq()
    line.free_irq()
    line.request_irq(print)


def test_a_freed_handler_does_not_run(line):
    calls = []
    line.request_irq(lambda: calls.append(1))
    line.raise_irq()
    line.free_irq()
    assert line.handle_irq() is False
    assert calls == []


def test_a_handler_may_free_itself(line):
    line.request_irq(lambda: line.free_irq())
    line.raise_irq()
    assert line.handle_irq() is True
    assert line.handle_irq() is False


def test_what_a_handler_raises_is_raised_once(line):
    line.request_irq(lambda: 1 / 0)
    line.raise_irq()
    with pytest.raises(ZeroDivisionError):
        line.handle_irq()
    line.lower_irq()
    line.handle_irq()


def test_a_handler_must_be_callable(line):
    with pytest.raises(TypeError, match="callable"):
        line.request_irq(7)


def test_repr_tells_level_and_counts(line):
    line.raise_irq()
    assert repr(line) == "<IrqLine: up, raised 1 times, handled 0>"
