"""The model of stop and wake: sound with every fence, and a wake-up is lost without any of them."""

import pytest

STOPPED = "assertion violated  !(((memory[2]&1)"        # at_rest's look at DRV_XOFF,
HELD = "assertion violated  !(((memory[2]&2)"           # and at STACK_XOFF
FOR_EVER = "invalid end state"


@pytest.mark.parametrize(
    ("defines", "states"),
    [
        ("", 100_000),
        ("BQL", 1_000_000),
        ("SIZE=2 STOP=1 START=1", 10_000),
        ("SIZE=4 STOP=1 START=3", 100_000),
        ("X86 BQL", 500_000),
    ],
)
def test_no_wake_up_is_lost(check, defines, states):
    verdict = check("stop_wake.pml", defines)
    assert (verdict.error, verdict.complete, verdict.unreached) == (None, True, [])
    assert verdict.states > states


@pytest.mark.parametrize(
    ("defines", "error"),
    [
        ("NO_FENCE_A", STOPPED),
        ("NO_FENCE_B", STOPPED),
        ("NO_SECOND_LOOK", STOPPED),
        ("WAKE_BEFORE_PUBLISHING", STOPPED),
        ("BQL NO_FENCE_A", STOPPED),
        ("BQL NO_FENCE_C", HELD),
        ("BQL NO_FENCE_D", STOPPED),                    # it stands in for B, and that shows first
        ("BQL NO_FENCE_D NEVER_FULL", HELD),
        ("BQL NO_SECOND_LOOK", STOPPED),
        ("BQL NO_SECOND_LOOK_AT_BYTES", HELD),
        ("BQL WAKE_BEFORE_PUBLISHING", STOPPED),
        ("ONLY_FOR_EVER NO_FENCE_A", FOR_EVER),
        ("ONLY_FOR_EVER NO_FENCE_B", FOR_EVER),
        ("ONLY_FOR_EVER NO_SECOND_LOOK", FOR_EVER),
        ("ONLY_FOR_EVER BQL NO_FENCE_D", FOR_EVER),
        ("X86 NO_FENCE_B", STOPPED),
        ("X86 BQL NO_FENCE_D", STOPPED),
    ],
)
def test_without_it_a_wake_up_is_lost(check, defines, error):
    verdict = check("stop_wake.pml", defines)
    assert (verdict.error or "none").startswith(error), verdict.log
    assert verdict.states > 500


def test_bytes_counted_after_they_are_published_may_be_completed_before(check):
    assert "counted)&15)>=done" in (check("stop_wake.pml", "BQL PUBLISH_BEFORE_SENT").error or "none")


@pytest.mark.parametrize("defines", ["X86 NO_FENCE_A", "X86 BQL NO_FENCE_A NO_FENCE_C"])
def test_on_x86_setting_the_bit_is_a_fence_itself(check, defines):
    verdict = check("stop_wake.pml", defines)
    assert (verdict.error, verdict.complete) == (None, True)


@pytest.mark.parametrize("defines", ["BQL NO_FENCE_C", "BQL NO_SECOND_LOOK_AT_BYTES"])
def test_bytes_counted_before_they_are_published_are_never_held_for_ever(check, defines):
    """Their own completion comes later, and clears what this one missed: until then the queue is held in vain."""
    verdict = check("stop_wake.pml", f"ONLY_FOR_EVER {defines}")
    assert (verdict.error, verdict.complete) == (None, True)
