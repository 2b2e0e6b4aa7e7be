"""The model of a threaded NAPI's wake-up: no event is lost, nobody polls beside another, and each step of it is needed."""

import pytest


def test_no_event_is_lost_and_one_polls_at_a_time(check):
    verdict = check("napi_thread.pml", "")
    assert (verdict.error, verdict.complete, verdict.unreached) == (None, True, [])
    assert verdict.states > 5000


@pytest.mark.parametrize("defines", ["CLEAR_WOKEN_LATE", "ONLY_IF_ASLEEP", "FORGET_MISSED"])
def test_without_it_an_event_is_lost(check, defines):
    assert "work>0" in (check("napi_thread.pml", defines).error or "none")


def test_woken_too_early_the_thread_finds_that_it_is_not_its_turn(check):
    assert "state&8" in (check("napi_thread.pml", "WAKE_FIRST").error or "none")
