"""What the PCI core asks of the driver: probe, remove, suspend, resume (the kernel's pci_driver, e1000_main.c)."""

from __future__ import annotations

import errno
import logging
import struct
from contextlib import ExitStack

from e1000.bus.base import Bus
from e1000.driver.control import E1000Adapter
from e1000.driver.flow import by_eeprom
from e1000.driver.hw import EEPROM_SUM, EEPROM_WORDS, EepromError, Hw
from e1000.driver.offload import set_up_features
from e1000.driver.param import DEFAULT_RX_USECS, DEFAULT_TX_WAKE, MAX_MTU, MIN_MTU, Options
from e1000.driver.power import EEPROM_APME
from e1000.regs import WUFC_MAG
from softnet.ethernet import is_valid_ether_addr, random_ether_addr
from softnet.netdev import NetDevice
from softnet.netdev_rx_mode import AddrAssign
from softnet.stack import Stack

FLOW_WORD, WAKE_WORD = 0x0F, 0x24  # of the EEPROM: initialization control 2 and 3

log = logging.getLogger("e1000")


def read_eeprom(hw: Hw) -> bytes | None:
    """What is in the EEPROM, or None, with a warning, if that does not answer or is damaged (§5.6)."""
    try:
        image = hw.read_eeprom_image()
    except EepromError as error:
        log.warning("%s", error.strerror)
        return None
    if sum(struct.unpack(f"<{EEPROM_WORDS}H", image)) & 0xFFFF != EEPROM_SUM:
        log.warning("%r: The EEPROM Checksum Is Not Valid", hw.bus)
        return None
    return image


def station_address(bus: Bus, image: bytes | None) -> bytes | None:
    """That of an EEPROM, or None, with a warning, if it will not do."""
    if image is not None and not is_valid_ether_addr(image[:6]):
        log.warning("%r: Invalid MAC Address: %s", bus, image[:6].hex(":"))
    return image[:6] if image is not None and is_valid_ether_addr(image[:6]) else None


def set_defaults(adapter: E1000Adapter, image: bytes) -> None:
    """What an EEPROM says of flow control and of waking up."""
    words = struct.unpack(f"<{EEPROM_WORDS}H", image)
    if adapter.flow_parameter is None:
        adapter.flow.wanted = by_eeprom(words[FLOW_WORD])
    if words[WAKE_WORD] & EEPROM_APME:
        adapter.power.wake = adapter.power.supported & WUFC_MAG


def set_dma_mask(bus: Bus) -> int:
    """As many address bits as bus and memory allow: 64 or 32. Raises OSError EIO."""
    try:
        bus.dma_set_mask(64)
    except OSError:
        try:
            bus.dma_set_mask(32)
        except OSError as error:
            raise OSError(errno.EIO, f"No usable DMA configuration, aborting: {error.strerror}") from None
        return 32
    return 64


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
    doorbell_every: int = 0,
    tx_wake: int = DEFAULT_TX_WAKE,
    copybreak: int = 0,
    weight: int = 64,
    rx_usecs: int = DEFAULT_RX_USECS,
    tx_int_delay: int = 0,
    tx_abs_int_delay: int = 0,
    rx_int_delay: int = 0,
    rx_abs_int_delay: int = 0,
    tx_wthresh: int = 0,
    rx_wthresh: int = 0,
    flow_control: str = "default",
) -> NetDevice:
    """Find the card on `bus` and make its net_device, not yet registered (e1000_probe).

    A damaged EEPROM costs no more than its address: a random one is taken, and `addr_assign_type` says so. Raises OSError: ENODEV for
    another card, or one that is gone, EIO if there is no working card or it does not reach its memory, EBUSY if a driver has it open,
    EINVAL for an option (param.Options), an MTU or a flow control it does not have. After an error the card is as it was, but reset.
    """
    if not isinstance(bus, Bus):
        raise TypeError(f"bus is an e1000.bus.Bus, not {bus!r}")
    if not isinstance(stack, Stack):
        raise TypeError(f"stack is a softnet.stack.Stack, not {stack!r}")
    if bus.irq.requested:
        raise OSError(errno.EBUSY, f"{bus!r}: a driver has this card open")
    options = Options(
        tx_descriptors=tx_descriptors,
        rx_descriptors=rx_descriptors,
        rs_every=rs_every,
        doorbell_every=doorbell_every,
        tx_wake=tx_wake,
        copybreak=copybreak,
        weight=weight,
        rx_usecs=rx_usecs,
        tx_int_delay=tx_int_delay,
        tx_abs_int_delay=tx_abs_int_delay,
        rx_int_delay=rx_int_delay,
        rx_abs_int_delay=rx_abs_int_delay,
        tx_wthresh=tx_wthresh,
        rx_wthresh=rx_wthresh,
    )
    adapter = E1000Adapter(bus, stack, options, flow_control=flow_control)
    with ExitStack() as undo:
        adapter.pci_command = adapter.hw.enable()
        undo.callback(adapter.hw.disable, adapter.pci_command)
        adapter.dma_bits = set_dma_mask(bus)
        adapter.hw.reset()
        image = read_eeprom(adapter.hw)
        mac = station_address(bus, image)
        if image is not None:
            set_defaults(adapter, image)
        address = random_ether_addr() if mac is None else mac
        device = NetDevice(stack, adapter, dev_addr=address, name=name, mtu=mtu, min_mtu=MIN_MTU, max_mtu=MAX_MTU, bql=bql, priv=adapter)
        if mac is None:
            device.addr_assign_type = AddrAssign.RANDOM
            log.warning("%r: using random address %s", bus, address.hex(":"))
        device.napi_add(adapter.napi)
        undo.callback(device.napi_del, adapter.napi)
        device.ethtool_ops = adapter.ethtool
        set_up_features(device, adapter.dma_bits)
        adapter.features = device.features
        device.unicast_flt = True
        device.carrier_off()
        undo.pop_all()
    return device


def remove(device: NetDevice) -> None:
    """Take a card from its driver (e1000_remove): unregistered, reset, off the bus' memory, freed; also a card that is gone already.

    Raises what stopping it did, with all of this done; but TimeoutError with the device still open: a poll did not end.
    """
    adapter = _adapter(device)
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


def suspend(device: NetDevice) -> None:
    """Put a card to sleep, as its host goes there too (e1000_suspend): see Power.suspend."""
    with device.stack.rtnl:
        _adapter(device).power.suspend(device)


def resume(device: NetDevice) -> int:
    """Wake it, and what runs on it (e1000_resume); returns what woke the host, bits of WUFC: see Power.resume."""
    with device.stack.rtnl:
        return _adapter(device).power.resume(device)


def _adapter(device: NetDevice) -> E1000Adapter:
    adapter = device.netdev_ops
    assert isinstance(adapter, E1000Adapter)
    return adapter
