"""Stack: names and indexes, and what closing it does."""

import errno

import pytest

from fastring.clock import MonotonicClock, VirtualClock
from softnet import Stack


class Taken:
    """Stands for a device whose name is taken."""


def with_devices(*names):
    stack = Stack()
    stack.devices.update((name, Taken()) for name in names)
    return stack


@pytest.mark.parametrize(
    ("taken", "template", "name"),
    [
        ((), "eth%d", "eth0"),
        (("eth0",), "eth%d", "eth1"),
        (("eth1",), "eth%d", "eth0"),
        (("eth0", "eth2"), "eth%d", "eth1"),
        (("eth0",), "wan%d", "wan0"),
        (("0",), "%d", "1"),
        (("a0b",), "a%db", "a1b"),
        ((), "wan", "wan"),
        ((), "a" * 15, "a" * 15),
        ((), "...", "..."),
    ],
)
def test_a_name_is_the_first_free_one_of_its_template(taken, template, name):
    assert with_devices(*taken).allocate_name(template) == name


@pytest.mark.parametrize(
    "name", ["", "a" * 16, ".", "..", "a/b", "a:b", "a b", "a\n", "a\0b", "%", "%s", "eth%d%d", "eth%%d", "100%", "é" * 8]
)
def test_a_name_the_kernel_would_not_take_is_refused(name):
    with pytest.raises(OSError, match="name") as refused:
        Stack().allocate_name(name)
    assert refused.value.errno == errno.EINVAL


def test_a_template_whose_number_makes_it_too_long_is_refused():
    stack = with_devices(*(f"{'a' * 13}{n}" for n in range(100)))
    with pytest.raises(OSError, match="name"):
        stack.allocate_name("a" * 13 + "%d")


def test_a_name_in_use_is_refused():
    with pytest.raises(OSError, match="'wan'") as refused:
        with_devices("wan").allocate_name("wan")
    assert refused.value.errno == errno.EEXIST


def test_indexes_count_from_one_and_are_not_used_again():
    stack = Stack()
    assert [stack.new_ifindex() for _ in range(3)] == [1, 2, 3]


def test_its_clock_is_the_one_given_or_the_real_one():
    clock = VirtualClock()
    assert Stack(clock=clock).clock is clock
    assert isinstance(Stack().clock, MonotonicClock)


def test_running_it_with_nothing_pending_does_nothing():
    assert Stack().run() == 0
