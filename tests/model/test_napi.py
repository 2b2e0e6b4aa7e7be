"""The model of NAPI: no event is lost, no interrupt outlives the device, and each rule of the contract is needed for it."""

import pytest


@pytest.mark.parametrize("defines", ["", "NO_TIMEOUT"])
def test_no_event_is_lost_and_nothing_comes_after_close(check, defines):
    verdict = check("napi.pml", defines)
    assert (verdict.error, verdict.complete, verdict.unreached) == (None, True, [])
    assert verdict.states > 30_000


@pytest.mark.parametrize("defines", ["NO_MISSED", "NO_CAS", "FORGET_WHEN_GIVING_UP", "NO_SECOND_LOOK"])
def test_without_it_an_event_is_lost(check, defines):
    assert "work>0" in (check("napi.pml", defines).error or "none")


def test_without_waiting_for_the_run_an_interrupt_comes_after_close(check):
    assert "unmasked" in (check("napi.pml", "NO_SYNCHRONIZE").error or "none")


def test_disable_comes_to_its_end_under_work_that_never_does(check):
    assert check("napi.pml", "NO_TIMEOUT", for_ever=True).error is None


def test_a_disable_that_only_waited_might_wait_for_ever(check):
    assert check("napi.pml", "NO_TIMEOUT NO_DISABLE_BIT", for_ever=True).error == "non-progress cycle"
