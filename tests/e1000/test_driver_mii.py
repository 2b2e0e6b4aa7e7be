"""The PHY's registers by ioctl, as mii-tool reads and writes them, and what the driver makes of a write."""

import errno

import pytest
from cards import packet
from failing import Host
from mdio import BMCR, CTRL1000, FULL_DUPLEX, ID1, LOOPBACK, NEGOTIATE, POWER_DOWN, RESET, RESTART, SPEED_HIGH, SPEED_LOW, Mdio

from e1000 import regs
from e1000.driver import resume, suspend
from softnet.mii import SIOCGMIIPHY, SIOCGMIIREG, SIOCSMIIREG, MiiIoctlData

FAR = bytes.fromhex("520000000002")
SIOCSHWTSTAMP = 0x89B0
SPECIFIC, EXTENDED_SPECIFIC = 16, 20


@pytest.fixture
def two(two_cards):
    return two_cards()


def get(device, register):
    data = MiiIoctlData(reg_num=register)
    device.eth_ioctl(SIOCGMIIREG, data)
    return data.val_out


def put(device, register, value):
    device.eth_ioctl(SIOCSMIIREG, MiiIoctlData(reg_num=register, val_in=value))


def refused(device, command, argument):
    with pytest.raises(OSError, match=device.name) as error:
        device.eth_ioctl(command, argument)
    return error.value.errno


def mode(device):
    now = device.ethtool_ops.get_link_ksettings(device)
    return now["speed"], now["duplex"], now["autoneg"]


def test_the_phys_address_and_its_registers_are_told(two):
    data = MiiIoctlData(phy_id=7)
    two.near.eth_ioctl(SIOCGMIIPHY, data)
    assert data.phy_id == 1
    assert get(two.near, ID1) == 0x0141
    assert get(two.near, 0xFFE0 | ID1) == 0x0141  # reg_num & 0x1F, as Linux reads
    assert bytes(data) == b"\1\0\0\0\0\0\0\0"


@pytest.mark.parametrize("up", [True, False])
def test_they_are_read_and_written_whether_it_is_up_or_not(two, up):
    if not up:
        two.near.stop()
    assert get(two.near, CTRL1000) == 0x0200
    put(two.near, CTRL1000, 0)
    assert Mdio(two.cards[0]).read(CTRL1000) == get(two.near, CTRL1000) == 0


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize(
    ("control", "expected"),
    [
        (0, (10, "half", False)),
        (FULL_DUPLEX, (10, "full", False)),
        (SPEED_LOW, (100, "half", False)),
        (SPEED_LOW | FULL_DUPLEX, (100, "full", False)),
        (SPEED_HIGH | FULL_DUPLEX, (1000, "full", True)),
        (RESET, (10, "half", False)),
    ],
)
def test_a_speed_that_is_written_is_the_links_and_stays_it(two, control, expected, up):
    if not up:
        two.near.stop()
    put(two.near, BMCR, control)
    assert mode(two.near) == expected
    two.near.stop()
    two.near.open()
    assert mode(two.near) == expected
    assert bool(two.cards[0].read(regs.CTRL) & regs.CTRL_FRCSPD) != expected[2]
    assert two.send([packet(100, to=FAR)]) == 1


@pytest.mark.parametrize("control", [NEGOTIATE, NEGOTIATE | RESTART, NEGOTIATE | RESET, NEGOTIATE | LOOPBACK])
def test_negotiation_that_is_written_is_about_all_modes(two, control):
    two.near.ethtool_ops.set_link_ksettings(two.near, advertising=["10baseT/Full"])
    put(two.near, BMCR, control)
    assert mode(two.near) == (1000, "full", True)
    put(two.near, BMCR, SPEED_LOW)
    put(two.near, BMCR, control)
    assert mode(two.near) == (1000, "full", True)
    assert two.send([packet(100, to=FAR)]) == 1


def test_an_open_device_is_reset_by_it_and_one_without_power_is_left_so(two):
    resets = []
    two.cards[0].on_write(regs.CTRL, lambda offset, value: resets.append(value & regs.CTRL_RST) or two.cards[0].write(offset, value))
    put(two.near, BMCR, POWER_DOWN | NEGOTIATE)
    assert not any(resets)
    assert not two.near.ethtool_ops.get_link(two.near)
    put(two.near, BMCR, NEGOTIATE)
    assert any(resets)
    assert two.near.ethtool_ops.get_link(two.near)


def test_a_device_that_was_never_open_is_reset_for_its_mtu(undo):
    host = Host(undo, mtu=9000)
    put(host.device, BMCR, NEGOTIATE)
    assert host.card.peek(regs.PBA) & 0xFFFF == 40
    assert host.works()


@pytest.mark.parametrize(("register", "resets"), [(SPECIFIC, True), (EXTENDED_SPECIFIC, True), (CTRL1000, False)])
def test_registers_that_count_from_a_reset_on_get_one(undo, register, resets):
    host = Host(undo)
    undo.enter_context(host.device)
    written = []
    host.card.on_write(regs.MDIC, lambda offset, value: written.append(value) or host.card.write(offset, value))
    put(host.device, register, get(host.device, register))
    reset_bits = [value & RESET for value in written if value >> regs.MDIC_REG_SHIFT & 0x1F == BMCR and value & regs.MDIC_OP_WRITE]
    assert any(reset_bits) == resets


def test_a_gigabit_in_half_duplex_is_refused_with_the_register_written_as_linux_does(two):
    with pytest.raises(OSError, match="1000 in full duplex; not 1000 in half") as error:
        put(two.near, BMCR, SPEED_HIGH)
    assert error.value.errno == errno.EINVAL
    assert Mdio(two.cards[0]).read(BMCR) == SPEED_HIGH


def test_what_there_is_not_is_refused_by_the_kernels_errno(two):
    near = two.near
    assert refused(near, SIOCSHWTSTAMP, MiiIoctlData()) == errno.EOPNOTSUPP
    assert refused(near, SIOCSMIIREG, MiiIoctlData(reg_num=0x20)) == errno.EFAULT
    assert refused(near, SIOCGMIIREG, b"\0" * 8) == errno.EFAULT
    suspend(near)
    assert refused(near, SIOCGMIIREG, MiiIoctlData()) == errno.ENODEV
    resume(near)
    near.stop()
    near.unregister()
    assert refused(near, SIOCGMIIREG, MiiIoctlData()) == errno.ENODEV
    near.register()


def test_a_phy_that_does_not_answer_is_eio(two):
    two.cards[0].on_read(regs.MDIC, lambda offset: regs.MDIC_READY | regs.MDIC_ERROR)
    for command in (SIOCGMIIREG, SIOCSMIIREG):
        with pytest.raises(OSError, match="the PHY does not answer") as error:
            two.near.eth_ioctl(command, MiiIoctlData(reg_num=CTRL1000))
        assert error.value.errno == errno.EIO
    two.cards[0].on_read(regs.MDIC, None)
