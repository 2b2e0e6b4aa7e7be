"""The rings' headers under Relacy: every item comes once, in order and whole, nobody waits for ever, and each ordering is needed for it."""

import pytest

SPSC = ["lamport", "cached", "batched", "slotflag"]
SEVERAL = ["mpmc", "mt", "rts", "hts", "locked"]
IN_PLACE = ["lamport", "cached", "batched", "hts"]
TWO_OF_EACH = {"producers": 2, "consumers": 2, "items": 3, "most": 2}


def scenario(strategy, **more):
    return {"strategy": strategy, **({"items": 5, "most": 2} if strategy in SPSC else TWO_OF_EACH), **more}


def passes(relacy, **options):
    verdict = relacy.check(**options)
    assert (verdict.error, verdict.failure) == (None, None), f"{options}: again with history=1"
    assert verdict.iterations == options["iterations"]


def one_of_each(iterations):
    for capacity in (1, 2, 4):
        for strategy in SPSC + SEVERAL:
            yield {"strategy": strategy, "capacity": capacity, "items": 5, "most": 2, "iterations": iterations}
        for strategy in IN_PLACE:
            yield {"strategy": strategy, "capacity": capacity, "items": 4, "most": 2, "units": 2, "in_place": 3, "iterations": iterations}
        yield {"strategy": "cached", "capacity": capacity, "items": 4, "one": 1, "iterations": iterations}


def several(iterations):
    for strategy in SEVERAL:
        for producers, consumers in ((2, 1), (1, 2), (2, 2)):
            for capacity in (1, 2, 4):
                sides = {"producers": producers, "consumers": consumers, "capacity": capacity}
                yield {"strategy": strategy, **sides, "items": 3, "most": min(capacity, 2), "iterations": iterations}
    for in_place in (1, 2, 3):
        yield {**scenario("hts"), "in_place": in_place, "iterations": iterations}


def parked(iterations):
    for strategy in SPSC + SEVERAL:
        for wait in ("futex", "eventfd"):
            yield {"strategy": strategy, "wait": wait, "capacity": 1, "items": 3, "iterations": iterations}
    for strategy in SEVERAL:
        for producers, consumers in ((2, 1), (1, 2), (2, 2)):
            sides = {"producers": producers, "consumers": consumers, "items": 2, "most": 2}
            yield {"strategy": strategy, "wait": "futex", **sides, "iterations": iterations}


def name(options):
    return "-".join(f"{key}={value}" if key != "strategy" else value for key, value in options.items() if key != "iterations")


@pytest.mark.parametrize("options", [*one_of_each(3000), *several(2000), *parked(2000)], ids=name)
def test_items_come_once_in_order_and_whole(relacy, options):
    passes(relacy, **options)


@pytest.mark.slow
@pytest.mark.parametrize("options", [*one_of_each(300_000), *several(300_000), *parked(300_000)], ids=name)
def test_items_come_once_in_order_and_whole_in_many_more_runs(relacy, options):
    passes(relacy, **options)


@pytest.mark.parametrize("strategy", ["cached", "batched"])
def test_two_items_go_through_in_each_way_they_can(relacy, strategy):
    verdict = relacy.check(strategy=strategy, items=2, search="full")
    assert verdict.error is None
    assert verdict.iterations > 1000


# --- each ordering is needed

NEEDED = {
    "lamport cached batched": [
        "fr_publish: fr_store_release32(r->write_index)",
        "fr_look_for_items: fr_load_acquire32(r->write_index)",
        "fr_give_back: fr_store_release32(r->read_index)",
        "fr_look_for_room: fr_load_acquire32(r->read_index)",
    ],
    "slotflag mpmc": [
        "fr_slots_in: fr_store_release32(fr_sequence(r, start + i))",
        "fr_slot_full: fr_load_acquire32(fr_sequence(r, position))",
        "fr_slots_free: fr_store_release32(fr_sequence(r, start + i))",
        "fr_slot_free: fr_load_acquire32(fr_sequence(r, position))",
    ],
    "mpmc": [
        "fr_mpmc_claim: fr_load_acquire32(index)",
        "fr_mpmc_claim: fr_compare_exchange32(index) acquire",
        "fr_mpmc_claim: fr_compare_exchange32(index) release",
    ],
    "mt rts hts": ["fr_there: fr_load_acquire32(e->other_tail)"],
    "mt": [
        "fr_mt_claim: fr_load_acquire32(e->head)",
        "fr_mt_claim: fr_compare_exchange32(e->head) acquire",
        "fr_mt_claim: fr_compare_exchange32(e->head) release",
        "fr_mt_follow: fr_load_acquire32(e->tail)",             # relaxed in rte_ring for years
        "fr_mt_follow: fr_store_release32(e->tail)",
    ],
    "rts": [
        "fr_rts_claim: fr_load_acquire64(e->head_pair)",
        "fr_rts_claim: fr_compare_exchange64(e->head_pair) acquire",
        "fr_rts_claim: fr_compare_exchange64(e->head_pair) release",
        "fr_rts_follow: fr_load_acquire64(e->tail_pair)",
        "fr_rts_follow: fr_compare_exchange64(e->tail_pair) acquire",
        "fr_rts_follow: fr_compare_exchange64(e->tail_pair) release",
    ],
    "hts": [
        "fr_hts_claim: fr_load_acquire64(e->tail_pair)",
        "fr_hts_claim: fr_compare_exchange64(e->tail_pair) release",
        "fr_hts_follow: fr_store_release64(e->tail_pair)",
    ],
    "locked": ["fr_lock: fr_compare_exchange32(r->lock) release", "fr_unlock: fr_store_release32(r->lock)"],
}

# These find nothing when they are relaxed, and why that is right.
UNNEEDED = {
    # onlookers count by it, and who takes over from a killed consumer: it orders nothing that lives
    "slotflag": ["fr_slotflag_dequeue: fr_store_release32(r->read_index)"],
    # only how far the head is ahead; and whoever is last has seen all claims by way of the tail
    "rts": ["fr_rts_claim: fr_load_acquire64(e->tail_pair)", "fr_rts_follow: fr_load_acquire64(e->head_pair)"],
    # a claim publishes nothing
    "hts": ["fr_hts_claim: fr_compare_exchange64(e->tail_pair) acquire"],
    # all is behind the lock: for onlookers, and for who takes over from a killed holder
    "locked": [
        "fr_lock: fr_compare_exchange32(r->lock) acquire",
        "fr_locked_enqueue: fr_store_release32(r->write_index)",
        "fr_locked_dequeue: fr_store_release32(r->read_index)",
    ],
}


def weakenings(table):
    return [(strategy, place) for strategies, places in table.items() for strategy in strategies.split() for place in places]


def weakened(relacy, strategy, place, **options):
    """`place`, relaxed; or followed by what is left of an order that was both."""
    operation, _, left = place.rpartition(") ")
    return relacy.check(**scenario(strategy, **options), weaken=operation + ")" if left in ("acquire", "release") else place,
                        to=left if left in ("acquire", "release") else "relaxed")


@pytest.mark.parametrize(("strategy", "place"), weakenings(NEEDED))
def test_without_the_ordering_something_is_wrong(relacy, strategy, place):
    assert weakened(relacy, strategy, place, iterations=100_000).error in ("DATA RACE", "USER ASSERT FAILED", "LIVELOCK")


@pytest.mark.parametrize(("strategy", "place"), weakenings(UNNEEDED))
def test_an_ordering_that_costs_nothing_is_not_needed(relacy, strategy, place):
    assert weakened(relacy, strategy, place, iterations=5000).error is None


@pytest.mark.parametrize("strategy", SPSC + SEVERAL)
def test_every_ordered_operation_is_among_those_that_are_left_out(relacy, strategy):
    known = {place.removesuffix(" acquire").removesuffix(" release") for table in (NEEDED, UNNEEDED) for of, place in weakenings(table)
             if of == strategy}
    places = relacy.check(**scenario(strategy), iterations=2000, places=1).places
    assert {place for place, order in places.items() if order != "relaxed"} == known


@pytest.mark.parametrize("place", ["fr_arm: fr_fence_full()", "fr_ring_bell: fr_fence_full()"])
@pytest.mark.parametrize("wait", ["futex", "eventfd"])
def test_without_either_fence_a_bell_is_lost(relacy, wait, place):
    assert relacy.check(strategy="cached", wait=wait, weaken=place, iterations=100_000).error == "DEADLOCK"


# --- each step is needed, where it stands

MUTANTS = {
    "publishing before copying": ("cached", "DATA RACE", (
        "ring_spsc.h",
        "fr_items_in(r, r->producer.index, items, n);                                                          \\\n"
        "        fr_##S##_commit(r, n);",
        "fr_##S##_commit(r, n); fr_items_in(r, r->producer.index - n, items, n);")),
    "giving back before copying": ("lamport", "DATA RACE", (
        "ring_spsc.h",
        "fr_items_out(r, r->consumer.index, items, n);                                                         \\\n"
        "        fr_##S##_release(r, n);",
        "fr_##S##_release(r, n); fr_items_out(r, r->consumer.index - n, items, n);")),
    "a producer that keeps to itself what it waits for": ("batched", "LIVELOCK", (
        "ring_spsc.h", "if (room < n) fr_batched_flush(r);", "")),
    "a consumer that keeps to itself what it waits for": ("batched", "LIVELOCK", (
        "ring_spsc.h", "if (there < n) fr_batched_flush_reads(r);", "")),
    "a slot told before it is filled": ("slotflag", "DATA RACE", (
        "ring_slots.h",
        "fr_units_in(fr_slot_item(r, start + i), items, r->units);\n",
        "fr_store_release32(fr_sequence(r, start + i), 2 * (start + i) + 1); fr_units_in(fr_slot_item(r, start + i), items, r->units);\n")),
    "a slot freed before it is read": ("slotflag", "DATA RACE", (
        "ring_slots.h", "    fr_slots_copy(r, c->index, items, n);\n",
        "    fr_slots_free(r, c->index, n); fr_slots_copy(r, c->index, items, n);\n")),
    "a full slot taken for a free one": ("mpmc", "DATA RACE", (
        "ring_slots.h", "if (behind == 0) return FR_SLOT_READY;\n    return behind == 2 * r->capacity ||",
        "if (behind == 0 || behind == 2 * r->capacity - 1) return FR_SLOT_READY;\n    return behind == 2 * r->capacity ||")),
    "what looks impossible believed without a second look at the index": ("mpmc", "USER ASSERT FAILED", (
        "ring_slots.h", "if (now == position) {", "{")),
    "a tail that does not wait for those before it": ("mt", "DATA RACE", (
        "ring_headtail.h", "while (fr_load_acquire32(e->tail) != start) {", "while (0) {")),
    "a tail moved by who is not last": ("rts", "DATA RACE", (
        "ring_headtail.h", "count == fr_high(head) ? fr_low(head) : fr_low(tail)", "fr_low(head)")),
    "the head read before the tail": ("rts", "LIVELOCK", (
        "ring_headtail.h",
        "uint64_t tail = fr_load_acquire64(e->tail_pair);",
        "uint64_t old = fr_load_acquire64(e->head_pair), tail = fr_load_acquire64(e->tail_pair);"), (
        "ring_headtail.h",
        "uint64_t head = fr_load_acquire64(e->head_pair);",
        "uint64_t head = tries ? fr_load_acquire64(e->head_pair) : old;")),
    "a claim beside another's": ("hts", "DATA RACE", (
        "ring_headtail.h", "while (fr_low(word) != fr_high(word)) {", "while (0) {")),
    "a lock that two have": ("locked", "DATA RACE", (
        "ring_locked.h", "while (!fr_compare_exchange32(r->lock, &holder, self)) {", "while (0) {")),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_step_left_out_or_misplaced_is_found(relacy, mutant):
    strategy, error, *patches = MUTANTS[mutant]
    capacity = 1 if strategy == "batched" else 2
    assert relacy.check(*patches, **scenario(strategy, iterations=100_000, capacity=capacity)).error == error


def test_a_span_that_crossed_the_end_of_the_slots_is_found(relacy):
    crossing = ("ring_in_place.h", "side->reserved = fr_least(n, r->capacity - slot);", "side->reserved = n;")
    assert relacy.check(crossing, **scenario("cached", in_place=3)).error is not None


def test_without_another_look_after_arming_a_bell_is_lost(relacy):
    asleep = ("ring_wait.h", "if (fr_ready(r, items) >= n) return 0;", "")
    assert relacy.check(asleep, strategy="cached", wait="futex").error == "DEADLOCK"


def test_a_word_that_comes_back_to_its_value_loses_the_bell_of_one_of_two_sleepers(relacy):
    same = ("ring_wait.h", "fr_compare_exchange32(bell->armed, &armed, armed + 1)", "fr_compare_exchange32(bell->armed, &armed, armed - 1)")
    assert relacy.check(same, strategy="mt", consumers=2, items=2, most=2, wait="futex", iterations=100_000).error == "DEADLOCK"


def test_an_eventfd_is_for_one_sleeper(relacy):
    assert relacy.check(strategy="mt", consumers=2, items=2, most=2, wait="eventfd").error == "DEADLOCK"
