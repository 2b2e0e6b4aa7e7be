"""MAC control frames (§8.7.4): which the host sees, by RCTL.DPF and PMCF, while CTRL.RFCE is set."""

import pytest
from cards import PIF, STATION, packet

from e1000 import regs
from fastring.burst import FRAME_BAD_CRC

MULTICAST = bytes.fromhex("0180c2000001")
BASE = regs.RCTL_SECRC


def control(opcode, *, to=MULTICAST, ethertype=0x8808, length=60):
    return (packet(14, to=to, ethertype=ethertype) + opcode.to_bytes(2, "big")).ljust(length, b"\0")


PAUSE, OTHER = control(1), control(0x101)
PAUSE_US, OTHER_US = control(1, to=STATION), control(0x101, to=STATION)


@pytest.fixture
def flow(make_card):
    """flow(rctl, rfce=True): a BareCard whose flow control registers are as drivers set them."""

    def make(rctl=0, *, rfce=True, fct=0x8808):
        card = make_card()
        card.write(regs.FCAL, 0x00C28001)
        card.write(regs.FCAH, 0x0100)
        card.write(regs.FCT, fct)
        card.rx_ring(rctl=BASE | rctl)
        if rfce:
            card.write(regs.CTRL, card.read(regs.CTRL) | regs.CTRL_RFCE)
        return card

    return make


@pytest.mark.parametrize(
    ("rctl", "seen", "dropped"),
    [
        (0, [PAUSE_US], {"rx_control": 2, "rx_filtered": 1}),
        (regs.RCTL_DPF, [], {"rx_control": 4}),
        (regs.RCTL_PMCF, [PAUSE_US, OTHER, OTHER_US], {"rx_filtered": 1}),
        (regs.RCTL_MPE, [PAUSE, PAUSE_US], {"rx_control": 2}),
        (regs.RCTL_MPE | regs.RCTL_DPF, [], {"rx_control": 4}),
        (regs.RCTL_MPE | regs.RCTL_PMCF | regs.RCTL_DPF, [OTHER, OTHER_US], {"rx_control": 2}),
    ],
)
def test_pause_and_other_control_frames_reach_the_host_by_dpf_and_pmcf(flow, rctl, seen, dropped):
    card = flow(rctl)
    card.receive(PAUSE, PAUSE_US, OTHER, OTHER_US)
    assert card.take() == seen
    assert card.drops == dropped
    assert card.counts("TPR", "TOR") == (4, 256)


def test_pause_frames_are_in_no_count_of_good_frames(flow):
    card = flow(regs.RCTL_PMCF | regs.RCTL_MPE)
    card.receive(PAUSE, PAUSE_US)
    assert card.counts("GPRC", "GORC", "MPRC", "PRC64", "TPR") == (0, 0, 0, 0, 2)
    card.receive(OTHER, OTHER_US)
    assert card.counts("GPRC", "GORC", "MPRC", "PRC64", "TPR") == (2, 128, 1, 2, 2)


def test_pause_frames_that_wait_for_descriptors_are_not_in_rnbc(flow):
    card = flow()
    card.write(regs.RDH, card.rx_tail)
    card.receive(PAUSE_US, packet(60))
    assert card.counts("RNBC", "GPRC", "MPC") == (1, 1, 0)


def test_a_control_frame_that_no_address_filter_knows_is_marked(flow):
    card = flow(regs.RCTL_PMCF)
    card.receive(OTHER, OTHER_US)
    assert [desc.status & PIF for desc, _ in card.take_descs()] == [PIF, 0]


@pytest.mark.parametrize("options", [{"rfce": False}, {"fct": 0}, {"fct": 0x8809}])
def test_without_flow_control_they_are_frames_as_any(flow, options):
    card = flow(regs.RCTL_DPF, **options)
    card.receive(PAUSE, PAUSE_US, OTHER, OTHER_US)
    assert card.take() == [PAUSE_US, OTHER_US]
    assert card.drops == {"rx_filtered": 2}
    assert card.counts("GPRC") == (2,)


def test_all_three_comparisons_must_hold(flow):
    card = flow(regs.RCTL_DPF | regs.RCTL_UPE)
    frames = [control(1, to=b"\x52" * 6), control(1, to=STATION, ethertype=0x8809)]
    card.receive(*frames)
    assert card.take() == frames


def test_a_bad_pause_frame_is_none(flow):
    card = flow(regs.RCTL_SBP | regs.RCTL_DPF)
    card.receive(PAUSE_US, errors=FRAME_BAD_CRC)
    card.receive(control(1, to=STATION, length=59))
    assert len(card.take()) == 2
    assert card.counts("CRCERRS", "RUC") == (1, 1)


def test_frames_between_are_received_as_ever(flow):
    card = flow(regs.RCTL_DPF)
    card.receive(packet(60), PAUSE_US, packet(61), OTHER, packet(62))
    assert card.take() == [packet(60), packet(61), packet(62)]
