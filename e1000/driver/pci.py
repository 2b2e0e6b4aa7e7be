"""What the PCI core asks of the driver: probe and remove (the kernel's pci_driver, e1000_main.c)."""

from __future__ import annotations

import errno
import logging
import struct
from contextlib import ExitStack

from e1000.bus.base import Bus
from e1000.driver.control import E1000Adapter
from e1000.driver.hw import EEPROM_SUM, EEPROM_WORDS, EepromError, Hw
from e1000.driver.offload import set_up_features
from e1000.driver.param import MAX_MTU, MIN_MTU
from softnet.ethernet import is_valid_ether_addr, random_ether_addr
from softnet.netdev import NetDevice
from softnet.netdev_rx_mode import AddrAssign
from softnet.stack import Stack

log = logging.getLogger("e1000")


def read_mac(hw: Hw) -> bytes | None:
    """The station address from the EEPROM, or None, with a warning, if that is damaged or the address will not do (§5.6)."""
    try:
        image = hw.read_eeprom_image()
    except EepromError as error:
        log.warning("%s", error.strerror)
        return None
    if sum(struct.unpack(f"<{EEPROM_WORDS}H", image)) & 0xFFFF != EEPROM_SUM:
        log.warning("%r: The EEPROM Checksum Is Not Valid", hw.bus)
        return None
    if not is_valid_ether_addr(image[:6]):
        log.warning("%r: Invalid MAC Address: %s", hw.bus, image[:6].hex(":"))
        return None
    return image[:6]


def probe(
    bus: Bus,
    stack: Stack,
    *,
    name: str = "eth%d",
    mtu: int = 1500,
    bql: bool = True,
    tx_descriptors: int = 256,
    rx_descriptors: int = 256,
    rs_every: int = 32,
    weight: int = 64,
    rx_usecs: int = 0,
) -> NetDevice:
    """Find the card on `bus` and make its net_device, not yet registered (e1000_probe).

    A damaged EEPROM costs no more than its address: a random one is taken, and `addr_assign_type` says so. Raises OSError: ENODEV for
    another card, EIO if there is no working card, EBUSY if a driver has it open, EINVAL for a ring size, an MTU or a moderation it does
    not have. After an error the card is as it was, but reset.
    """
    if bus.irq.requested:
        raise OSError(errno.EBUSY, f"{bus!r}: a driver has this card open")
    adapter = E1000Adapter(
        bus,
        stack,
        tx_descriptors=tx_descriptors,
        rx_descriptors=rx_descriptors,
        rs_every=rs_every,
        weight=weight,
        rx_usecs=rx_usecs,
    )
    with ExitStack() as undo:
        adapter.pci_command = adapter.hw.enable()
        undo.callback(adapter.hw.disable, adapter.pci_command)
        adapter.hw.reset()
        mac = read_mac(adapter.hw)
        address = random_ether_addr() if mac is None else mac
        device = NetDevice(stack, adapter, dev_addr=address, name=name, mtu=mtu, min_mtu=MIN_MTU, max_mtu=MAX_MTU, bql=bql, priv=adapter)
        if mac is None:
            device.addr_assign_type = AddrAssign.RANDOM
            log.warning("%r: using random address %s", bus, address.hex(":"))
        device.ethtool_ops = adapter.ethtool
        set_up_features(device)
        adapter.features = device.features
        device.unicast_flt = True
        device.carrier_off()
        undo.pop_all()
    return device


def remove(device: NetDevice) -> None:
    """Take a card from its driver (e1000_remove): unregistered, reset, off the bus' memory, freed; also a card that is gone already.

    Raises what stopping it did, with all of this done; but TimeoutError with the device still open: a poll did not end.
    """
    adapter = device.netdev_ops
    assert isinstance(adapter, E1000Adapter)
    try:
        device.unregister()
    finally:
        if not device.registered:
            _release(device, adapter)


def _release(device: NetDevice, adapter: E1000Adapter) -> None:
    with ExitStack() as undo:
        undo.callback(device.free)
        undo.callback(adapter.hw.disable, adapter.pci_command)
        adapter.hw.if_present(adapter.hw.reset)
