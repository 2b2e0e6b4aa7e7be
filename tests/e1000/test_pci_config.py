"""Configuration space: every field and mask, BAR sizing, capabilities, and what lspci makes of it."""

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e1000 import regs
from e1000.bus import HostMemory, LocalBus
from e1000.device import E1000Device

COMMAND, STATUS, BAR0, BAR1, CAPABILITIES = 0x04, 0x06, 0x10, 0x14, 0x34
PM, PMCSR, MSI = 0xDC, 0xE0, 0xF0

# offset, bytes, value after RST#, bits a write changes, bits writing 1 clears
FIELDS = {
    "vendor": (0x00, 2, 0x8086, 0, 0),
    "device": (0x02, 2, 0x100E, 0, 0),
    "command": (COMMAND, 2, 0, 0x0557, 0),
    "status": (STATUS, 2, 0x0230, 0, 0xF900),
    "revision": (0x08, 1, 2, 0, 0),
    "class": (0x09, 3, 0x020000, 0, 0),
    "cache line": (0x0C, 1, 0, 0xFF, 0),
    "latency timer": (0x0D, 1, 0, 0xFF, 0),
    "header type": (0x0E, 1, 0, 0, 0),
    "BIST": (0x0F, 1, 0, 0, 0),
    "BAR0": (BAR0, 4, 0, 0xFFFE0000, 0),
    "BAR1": (BAR1, 4, 1, 0xFFFFFFC0, 0),
    "BAR2": (0x18, 4, 0, 0, 0),
    "BAR3": (0x1C, 4, 0, 0, 0),
    "BAR4": (0x20, 4, 0, 0, 0),
    "BAR5": (0x24, 4, 0, 0, 0),
    "CardBus CIS": (0x28, 4, 0, 0, 0),
    "subsystem vendor": (0x2C, 2, 0x8086, 0, 0),
    "subsystem": (0x2E, 2, 0x001E, 0, 0),
    "ROM": (0x30, 4, 0, 0, 0),
    "first capability": (CAPABILITIES, 1, PM, 0, 0),
    "interrupt line": (0x3C, 1, 0, 0xFF, 0),
    "interrupt pin": (0x3D, 1, 1, 0, 0),
    "Min_Gnt": (0x3E, 1, 0xFF, 0, 0),
    "Max_Lat": (0x3F, 1, 0, 0, 0),
    "PM id": (PM, 2, 0xF001, 0, 0),
    "PMC": (PM + 2, 2, 0xC822, 0, 0),
    "PMCSR": (PMCSR, 1, 0, 0x03, 0),
    "PMCSR high": (PMCSR + 1, 1, 0x20, 0x1F, 0x80),
    "PMCSR_BSE": (PMCSR + 2, 1, 0, 0, 0),
    "MSI id": (MSI, 2, 0x0005, 0, 0),
    "MSI control": (MSI + 2, 2, 0x80, 1, 0),
    "MSI address": (MSI + 4, 4, 0, 0xFFFFFFFC, 0),
    "MSI upper address": (MSI + 8, 4, 0, 0xFFFFFFFF, 0),
    "MSI data": (MSI + 12, 2, 0, 0xFFFF, 0),
}
EVERY_FIELD = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS.keys())
# The data register follows Data_Select: read-only, but no constant
DATA = PMCSR + 3


@pytest.fixture
def bus(undo):
    """A card on a bus as after RST#."""
    memory = undo.enter_context(HostMemory(size=1 << 20))
    return undo.enter_context(LocalBus(E1000Device(), memory=memory, enabled=False))


def read_field(bus, offset, size):
    return int.from_bytes(bytes(bus.config_read(offset + i, 1) for i in range(size)), "little")


def write_field(bus, offset, size, value):
    for i, byte in enumerate(value.to_bytes(size, "little")):
        bus.config_write(offset + i, byte, 1)


def dump(bus):
    return bytes(bus.config_read(i, 1) for i in range(256))


@EVERY_FIELD
def test_every_field_has_its_reset_value(bus, field):
    offset, size, reset, _, _ = field
    assert read_field(bus, offset, size) == reset


@EVERY_FIELD
def test_a_write_changes_the_writable_bits_and_no_others(bus, field):
    offset, size, reset, writable, _ = field
    before = dump(bus)
    every = (1 << 8 * size) - 1
    for value in (every, 0x5A5A5A5A & every, 0xA5A5A5A5 & every, 0):
        if offset == PMCSR and value & 3 in (1, 2):
            continue  # states there are not: discarded, tested elsewhere
        write_field(bus, offset, size, value)
        scale = 0x60 if offset == PMCSR + 1 else 0  # follows Data_Select
        assert read_field(bus, offset, size) & ~scale == (value & writable | reset & ~writable) & ~scale
        after = dump(bus)
        elsewhere = [i for i in range(256) if not offset <= i < offset + size and i != DATA]
        assert [after[i] for i in elsewhere] == [before[i] for i in elsewhere]


def test_what_is_no_field_reads_0_and_stays_so(bus):
    fields = {offset + i for offset, size, *_ in FIELDS.values() for i in range(size)} | {DATA}
    for i in set(range(256)) - fields:
        bus.config_write(i, 0xFF, 1)
        assert bus.config_read(i, 1) == 0, hex(i)


def test_all_ones_written_everywhere_leave_the_identity_alone(bus):
    for i in range(0, 256, 4):
        bus.config_write(i, 0xFFFFFFFF)
    assert [bus.config_read(i) for i in (0x00, 0x08, 0x2C)] == [0x100E8086, 0x02000002, 0x001E8086]


def test_a_bar_tells_its_size_and_kind_when_all_ones_are_written(bus):
    sizes = []
    for bar in range(BAR0, 0x28, 4):
        bus.config_write(bar, 0xFFFFFFFF)
        told = bus.config_read(bar)
        flags = 0x3 if told & 1 else 0xF
        sizes.append((told & flags, (-(told & ~flags)) & 0xFFFFFFFF))
    assert sizes == [(0, 0x20000), (1, 64)] + [(0, 0)] * 4


def test_a_bar_keeps_its_address(bus):
    bus.config_write(BAR0, 0xFEB80000)
    bus.config_write(BAR1, 0xC041)
    assert (bus.config_read(BAR0), bus.config_read(BAR1)) == (0xFEB80000, 0xC041)


@given(st.data())
def test_reads_of_every_size_and_alignment_see_the_same_bytes(data):
    with HostMemory(size=4096) as memory, LocalBus(E1000Device(), memory=memory) as bus:
        size = data.draw(st.sampled_from([1, 2, 4]))
        offset = data.draw(st.integers(0, 256 - size))
        bus.config_write(offset, data.draw(st.integers(0, (1 << 8 * size) - 1)), size)
        assert bus.config_read(offset, size) == int.from_bytes(dump(bus)[offset : offset + size], "little")


@pytest.mark.parametrize(("offset", "size"), [(256, 1), (255, 2), (253, 4), (0xFFFFFFFF, 4)])
def test_accesses_past_the_end_are_refused(bus, offset, size):
    with pytest.raises(ValueError, match="configuration space: it ends at 0x100"):
        bus.config_read(offset, size)
    with pytest.raises(ValueError, match="configuration space: it ends at 0x100"):
        bus.config_write(offset, 0, size)


@pytest.mark.parametrize("size", [0, 3, 5, 8])
def test_sizes_there_are_not_are_refused(bus, size):
    for call in (bus.config_read, bus.io_read, bus.read):
        with pytest.raises(ValueError, match=f"1, 2 or 4 bytes, not {size}"):
            call(0, size)
    for call in (bus.config_write, bus.io_write, bus.write):
        with pytest.raises(ValueError, match=f"1, 2 or 4 bytes, not {size}"):
            call(0, 0, size)


def test_a_value_larger_than_its_access_is_refused(bus):
    for call in (bus.config_write, bus.io_write, bus.write):
        with pytest.raises(ValueError, match="0x100 does not fit into 1 byte"):
            call(0, 0x100, 1)


def test_an_82545em_is_found_under_its_own_id():
    assert E1000Device(device_id=0x100F).config_read(0) == 0x100F8086
    with pytest.raises(ValueError, match="0x10d3; 0x100E is the 82540EM"):
        E1000Device(device_id=0x10D3)
    for other in ("a", [], 1.5):
        with pytest.raises(ValueError, match="no PCI device id of this card: "):
            E1000Device(device_id=other)


# --- status ---


def test_the_capability_list_leads_to_power_management_and_msi(bus):
    assert bus.config_read(STATUS, 2) & 0x10
    found, at = [], bus.config_read(CAPABILITIES, 1)
    while at:
        found.append((at, bus.config_read(at, 1)))
        at = bus.config_read(at + 1, 1)
    assert found == [(PM, 0x01), (MSI, 0x05)]


def test_interrupt_status_shows_a_pending_interrupt_even_while_intx_is_disabled(card):
    bus = card.bus
    for disable in (0, 0x400):
        bus.config_write(COMMAND, 7 | disable, 2)
        assert not bus.config_read(STATUS, 2) & 8
        card.write(regs.IMS, regs.ICR_LSC)
        card.write(regs.ICS, regs.ICR_LSC)
        assert bus.config_read(STATUS, 2) & 8
        card.read(regs.ICR)
        assert not bus.config_read(STATUS, 2) & 8


@pytest.mark.parametrize("where", ["tx ring", "tx buffer", "rx ring", "rx buffer"])
def test_dma_to_nowhere_sets_received_master_abort_until_1_is_written(card, where):
    nowhere = 0xDEAD0000
    card.tx_ring()
    card.rx_ring()
    if where == "tx ring":
        card.write(regs.TDBAL, nowhere)
        card.write(regs.TDT, 1)
    elif where == "rx ring":
        card.write(regs.RDBAL, nowhere)
        card.receive(bytes(60))
    elif where == "tx buffer":
        card.post((nowhere).to_bytes(8, "little") + (60 | 1 << 24).to_bytes(8, "little"))
    else:
        card.addresses.write(card.rx_base, nowhere.to_bytes(8, "little"))
        card.receive(b"\xff" * 60)
    assert card.bus.config_read(STATUS, 2) == 0x2230
    card.bus.config_write(STATUS, 0, 2)
    assert card.bus.config_read(STATUS, 2) == 0x2230
    card.bus.config_write(STATUS, 0x2000, 2)
    assert card.bus.config_read(STATUS, 2) == 0x0230


def test_an_ordinary_packet_aborts_nothing(card):
    card.tx_ring()
    card.rx_ring()
    card.post_packets(bytes(60))
    card.receive(b"\xff" * 60)
    assert card.bus.config_read(STATUS, 2) == 0x0230


# --- power ---


def test_states_there_are_not_are_discarded(bus):
    for state in (0, 3):
        bus.config_write(PMCSR, state)
        for wrong in (1, 2):
            bus.config_write(PMCSR, wrong)
            assert bus.config_read(PMCSR, 1) == state


def test_the_data_register_tells_consumption_in_tenths_of_a_watt(bus):
    told = {}
    for select in range(16):
        bus.config_write(PMCSR, select << 9, 2)
        value = bus.config_read(PMCSR)
        assert value >> 9 & 15 == select
        told[select] = (value >> 13 & 3, value >> 24)
    expected = dict.fromkeys(range(16), (0, 0))
    expected |= {0: (1, 15), 4: (1, 15), 3: (1, 4), 7: (1, 4)}
    assert told == expected


# --- lspci ---


@pytest.mark.skipif(not shutil.which("lspci"), reason="lspci is not installed (pciutils)")
def test_lspci_decodes_it(card, tmp_path):
    card.bus.config_write(BAR0, 0xFEB80000)
    card.bus.config_write(BAR1, 0xC040)
    card.bus.config_write(0x3C, 11, 1)
    card.bus.config_write(MSI + 4, 0xFEE00000)
    card.bus.config_write(MSI + 12, 0x4021, 2)
    content = dump(card.bus)
    lines = [f"{i:02x}: " + content[i : i + 16].hex(" ") for i in range(0, 256, 16)]
    (tmp_path / "dump").write_text("00:03.0 Ethernet controller\n" + "\n".join(lines) + "\n")
    told = subprocess.run(["lspci", "-nvv", "-F", tmp_path / "dump"], capture_output=True, text=True, check=True).stdout
    for expected in (
        "00:03.0 0200: 8086:100e (rev 02)",
        "Subsystem: 8086:001e",
        "Control: I/O+ Mem+ BusMaster+ SpecCycle- MemWINV- VGASnoop- ParErr- Stepping- SERR- FastB2B- DisINTx-",
        "Status: Cap+ 66MHz+ UDF- FastB2B- ParErr- DEVSEL=medium >TAbort- <TAbort- <MAbort- >SERR- <PERR- INTx-",
        "63750ns min",
        "Interrupt: pin A routed to IRQ 11",
        "Region 0: Memory at feb80000 (32-bit, non-prefetchable)",
        "Region 1: I/O ports at c040",
        "Capabilities: [dc] Power Management version 2",
        "Flags: PMEClk- DSI+ D1- D2- AuxCurrent=0mA PME(D0+,D1-,D2-,D3hot+,D3cold+)",
        "Status: D0 NoSoftRst- PME-Enable- DSel=0 DScale=1 PME-",
        "Capabilities: [f0] MSI: Enable- Count=1/1 Maskable- 64bit+",
        "Address: 00000000fee00000  Data: 4021",
    ):
        assert expected in told, told
