"""Every scenario, done to our card and to QEMU's, shows the same but for the departures in departures.toml."""

import functools

import pytest
from departures import compare, load
from machines import OurMachine, QemuMachine
from scenarios import SCENARIOS
from script import Script

from e1000.bus.qemu import qemu_folder

DEPARTURES = load()
GROUPS = {"config", "reset", "eeprom", "phy", "rx", "tx", "irq", "flow", "stats", "loopback", "wol", "misc"}


@pytest.fixture(scope="session", autouse=True)
def qemu():
    """.ci/run fetches them first; without them the oracle is skipped."""
    for name in ("stepped", "counting"):
        if not (qemu_folder() / name / ".made-by").exists():
            pytest.skip(f"no QEMU in {qemu_folder()}: tests/oracle/qemu.sh fetches it")


def run(machine, function):
    """The steps of a scenario on a machine."""
    try:
        script = Script(machine)
        function(script)
        script.finish()
        return script.steps
    finally:
        machine.close()


@functools.cache
def differences(name):
    """What no departure explains in one scenario."""
    scenario = SCENARIOS[name]
    ours = run(OurMachine(), scenario.run)
    root = qemu_folder() / ("counting" if scenario.counting else "stepped")
    return compare(name, ours, run(QemuMachine(root, counting=scenario.counting), scenario.run), DEPARTURES)


@pytest.mark.parametrize("name", SCENARIOS)
def test_our_card_shows_what_qemu_does_but_for_its_known_departures(name):
    found = differences(name)
    assert not found, "\n".join(found)


def test_every_departure_of_the_file_is_met():
    for name in SCENARIOS:
        differences(name)
    unused = [f"{pattern!r} ({d.qemu})" for d in DEPARTURES for pattern in d.steps if pattern not in d.used]
    assert not unused, "QEMU does as our card here, so these are to be deleted:\n" + "\n".join(unused)


def test_there_are_scenarios_for_every_group():
    assert {name.split("-")[0] for name in SCENARIOS} == GROUPS
    assert len(SCENARIOS) >= 60
