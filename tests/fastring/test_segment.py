"""Segment: handed over by name, claimed by one, and what is said of one that is foreign, mismatched, stale or left behind."""

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from fastring.memory import Arena
from fastring.ring_end import PeerGone
from fastring.segment import ForeignSegment, MismatchedSegment, Segment, SegmentError, StaleSegment

VERSION, SIZE = 8, 16


@pytest.fixture
def segment():
    with Segment.create("packets") as segment:
        yield segment


@pytest.fixture
def path(tmp_path):
    return tmp_path / "packets.sock"


@contextlib.contextmanager
def child(code, *arguments):
    """A process of its own that says "ready" and then waits to be killed, or for its standard input to end."""
    program = "import sys\nfrom fastring.segment import Segment\n" + code + "\nprint('ready', flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        yield process
        if process.poll() is None:
            process.kill()


CLAIM = """
segment = Segment.attach(sys.argv[1])
end = getattr(segment, sys.argv[2])("rx")
end.ring.push(7) if sys.argv[2] == "producer" else end.ring.pop()
"""


def test_another_process_attaches_by_name_and_gets_what_was_pushed(segment, path):
    ring = segment.create_ring("rx", 64, wait="eventfd")
    records = segment.create_record_ring("bytes", 1 << 12)
    ring.push(42)
    records.push(b"hello")
    code = """
with Segment.attach(sys.argv[1]) as segment, segment.consumer("rx") as rx, segment.consumer("bytes") as records:
    assert (segment.contents, rx.ring.pop(), records.ring.pop()) == (["rx", "bytes"], 42, b"hello")
    assert repr(segment) == "<Segment 'packets': rx, bytes; 2 participants>"
    assert rx.wait(timeout=20) and rx.ring.pop() == 43
"""
    with segment.listen(path):
        with child(code.replace("    assert rx.wait", "    print('ready', flush=True)\n    assert rx.wait"), path) as process:
            ring.push(43)
            process.stdin.close()
            assert process.wait(20) == 0
        assert [peer.pid for peer in segment.participants] == [os.getpid()]
    assert not path.exists()


def test_a_side_has_one_owner_until_it_is_closed(segment, path):
    segment.create_ring("rx", 64)
    with segment.listen(path), child(CLAIM, path, "producer") as process:
        with pytest.raises(SegmentError, match=f"has a producer: process {process.pid}, which is alive"):
            segment.producer("rx")
        with segment.consumer("rx") as rx:
            assert (rx.peer.pid, rx.peer.alive, rx.wait(timeout=5), rx.ring.pop()) == (process.pid, True, True, 7)
            assert rx.peer.heartbeat_age < 60
            process.stdin.close()
            process.wait(20)
    with segment.producer("rx") as tx, segment.consumer("rx") as rx:
        assert rx.peer.pid == tx.peer.pid == os.getpid()
    assert segment.owner("rx", producer=True) is None


def test_sides_that_several_may_have_are_not_claimed(segment):
    segment.create_ring("rx", 64, strategy="mpmc")
    with segment.producer("rx") as one, segment.producer("rx") as other:
        one.ring.push(1)
        other.ring.push(2)
        assert one.peer is None


def test_a_dead_owner_is_noticed_and_its_side_claimed_by_the_next(segment, path):
    segment.create_ring("rx", 64, wait="futex")
    with segment.listen(path), segment.consumer("rx") as rx:
        with child(CLAIM, path, "producer") as process:
            descriptor = rx.peer.pidfd()
            assert select.select([descriptor], [], [], 0)[0] == []
            process.kill()
            assert select.select([descriptor], [], [], 20)[0] == [descriptor]
            os.close(descriptor)
            process.wait(20)
        assert (rx.wait(timeout=5), rx.ring.pop()) == (True, 7)  # it was published
        with pytest.raises(PeerGone, match=f"the producer of ring 'rx', process {process.pid}, is gone"):
            rx.wait(timeout=30)
        with pytest.raises(ProcessLookupError):
            rx.peer.pidfd()
        with child(CLAIM, path, "producer"):
            assert (rx.wait(timeout=5), rx.ring.pop()) == (True, 7)
            assert len(segment.participants) == 2  # the dead one's place was taken


def test_a_dead_owner_whose_place_is_taken_is_still_gone(segment, path):
    segment.create_ring("rx", 64)
    with segment.listen(path), segment.consumer("rx") as rx:
        with child(CLAIM, path, "producer") as process:
            process.kill()
            process.wait(20)
        with Segment.attach(path):  # takes the dead one's place
            assert rx.ring.pop() == 7
            with pytest.raises(PeerGone, match="the producer of ring 'rx' is gone"):
                rx.wait(timeout=30)
            assert not rx.peer.alive
            with pytest.raises(ProcessLookupError):
                rx.peer.pidfd()


def test_a_stopped_peer_is_alive_and_its_heartbeat_grows_old(segment, path):
    segment.create_ring("rx", 64)
    with segment.listen(path), segment.consumer("rx") as rx, child(CLAIM, path, "producer") as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        assert rx.peer.alive
        assert rx.peer.heartbeat_age > 0.2


def test_a_segment_its_maker_closed_or_left_is_stale(path):
    with Segment.create() as segment, Arena.attach(segment.arena.fileno()) as arena:
        segment.close()
        with pytest.raises(StaleSegment, match="was closed by its maker"):
            Segment.attach_arena(arena)
    code = """
segment = Segment.create("left", size=1 << 16)
segment.create_ring("rx", 64).push(5)
handover = segment.listen(sys.argv[1])
"""
    with child(code, path) as maker:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(str(path))
        maker_message, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        maker.kill()
        maker.wait(20)
    assert b'"left"' in maker_message
    with Arena.attach(fds[0]) as arena:
        with pytest.raises(StaleSegment, match="is gone; attach with orphaned=True"):
            Segment.attach_arena(arena, name="left")
        orphan = Segment.attach_arena(arena, name="left", orphaned=True)
        with orphan.consumer("rx") as rx:
            assert rx.ring.pop() == 5
        orphan.close()
    os.close(fds[0])
    connection.close()


def test_the_next_maker_takes_the_place_of_a_socket_nobody_listens_at(path):
    with child("segment = Segment.create()\nhandover = segment.listen(sys.argv[1])", path) as maker:
        with Segment.create() as other, pytest.raises(FileExistsError, match="already"):
            other.listen(path)
        maker.kill()
        maker.wait(20)
    with Segment.create("anew") as segment, segment.listen(path), Segment.attach(path) as attached:
        assert attached.name == "anew"
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_memory_that_is_no_segment_is_foreign():
    for size in (100, 1 << 16):
        with Arena(size) as made, Arena.attach(made.fileno()) as arena, pytest.raises(ForeignSegment, match="is no segment"):
            Segment.attach_arena(arena)


@pytest.mark.parametrize(("where", "value", "message"), [
    (VERSION, 9, "has version 9; this fastring speaks version 1"),
    (SIZE, 4096, "says it has 4096 bytes"),
])  # fmt: skip
def test_a_header_that_does_not_fit_is_mismatched(segment, where, value, message):
    with memoryview(segment.arena) as view:
        struct.pack_into("=I", view, where, value)
    with Arena.attach(segment.arena.fileno()) as arena, pytest.raises(MismatchedSegment, match=message):
        Segment.attach_arena(arena)


def test_a_ring_of_another_version_is_mismatched_by_name(segment):
    ring = segment.create_ring("rx", 64)
    with memoryview(segment.arena) as view:
        struct.pack_into("=I", view, ring.offset + 8, 9)
    with pytest.raises(MismatchedSegment, match=r"ring 'rx' of segment 'packets': the ring at offset .* has version 9"):
        segment.consumer("rx")


def test_names_are_told_when_one_is_wrong(segment):
    segment.create_ring("rx", 64)
    with pytest.raises(SegmentError, match="has no ring 'tx': it has rx"):
        segment.producer("tx")
    with pytest.raises(SegmentError, match="has a ring 'rx' already"):
        segment.create_ring("rx", 64)
    for name in ("", "x" * 40):
        with pytest.raises(SegmentError, match="names have 1 to 39 bytes"):
            segment.create_ring(name, 64)
    with Segment.attach_arena(Arena.attach(segment.arena.fileno())) as attached, pytest.raises(SegmentError, match="only its maker"):
        attached.create_ring("more", 64)


def test_a_32nd_peer_still_comes_and_a_33rd_is_told(segment):
    others = [Segment.attach_arena(Arena.attach(segment.arena.fileno())) for _ in range(31)]
    with pytest.raises(SegmentError, match="32 participants already, all alive"):
        Segment.attach_arena(Arena.attach(segment.arena.fileno()))
    others.pop().close()
    Segment.attach_arena(Arena.attach(segment.arena.fileno())).close()
    for other in others:
        other.close()


@pytest.mark.parametrize("answer", [b"", b"hello", b"{}", b'{"greeting": "fastring segment 1", "name": 3, "eventfds": []}',
                                    b'{"greeting": "fastring segment 1", "name": "x", "eventfds": ["rx"]}'])  # fmt: skip
def test_whatever_else_answers_at_the_socket_is_foreign(answer):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, open("/dev/null", "rb") as null:
        socket.send_fds(theirs, [answer], [null.fileno()])
        theirs.close()
        descriptors = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ForeignSegment, match="no segment of fastring's"):
            Segment.attach(ours)
        assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_handover_outlives_its_segment_and_hands_out_nothing(path):
    segment = Segment.create()
    with segment.listen(path):
        segment.close()
        with pytest.raises(ForeignSegment):
            Segment.attach(path)
        with pytest.raises(ForeignSegment):  # the thread is still there
            Segment.attach(path)


def test_nobody_at_the_socket_is_told_after_the_timeout(path):
    with pytest.raises(FileNotFoundError):
        Segment.attach(path, timeout=0.1)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(TimeoutError):
            Segment.attach(path, timeout=0.1)


def test_a_handover_outlives_a_want_of_descriptors(path):
    code = """
import resource, socket, time
segment = Segment.create("x")
handover = segment.listen(sys.argv[1])
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (client.fileno() + 1, most[1]))
    client.connect(sys.argv[1])
    time.sleep(0.2)
    resource.setrlimit(resource.RLIMIT_NOFILE, most)
"""
    with child(code, path):
        Segment.attach(path).close()


def test_a_socket_with_a_full_backlog_is_waited_for_and_not_listened_at(segment, path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as busy, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as first:
        busy.bind(str(path))
        busy.listen(0)
        first.connect(str(path))
        with pytest.raises(FileExistsError) as told:
            segment.listen(path)
        assert told.value.errno == errno.EADDRINUSE
        begun = time.monotonic()
        with pytest.raises(BlockingIOError):
            Segment.attach(path, timeout=0.2)
        assert time.monotonic() - begun >= 0.2


def test_a_timeout_that_is_no_number_is_no_time(path):
    with pytest.raises(FileNotFoundError):
        Segment.attach(path, timeout=float("nan"))


def test_a_refused_attach_leaves_no_descriptors(path):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Segment.create("x") as segment, ours, theirs:
        segment.create_ring("rx", 64, wait="eventfd")
        message = b'{"greeting": "fastring segment 1", "name": "x", "eventfds": ["rx"]}'
        descriptors = [os.dup(segment.arena.fileno()), *segment.eventfds["rx"]]
        with memoryview(segment.arena) as header:
            struct.pack_into("I", header, VERSION, 99)
        socket.send_fds(theirs, [message], descriptors)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(MismatchedSegment):
            Segment.attach(ours)
        assert len(os.listdir("/proc/self/fd")) == before
        os.close(descriptors[0])


@pytest.mark.parametrize("answer", [b"[" * 60000, b'{"greeting": "fastring segment 1", "name": "x", "eventfds": ["rx", "rx"]}'])
def test_an_answer_that_is_odd_all_through_is_foreign(segment, answer):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        socket.send_fds(theirs, [answer], [segment.arena.fileno()] * 5)
        with pytest.raises(ForeignSegment):
            Segment.attach(ours)


def test_a_closed_segment_is_asked_about_nobody(segment):
    with Segment.attach_arena(Arena.attach(segment.arena.fileno())) as attached:
        peer = attached.participants[0]
    with pytest.raises(ValueError, match="closed"):
        _ = peer.alive


def test_a_segment_with_an_open_end_keeps_its_place(segment):
    segment.create_ring("rx", 64)
    attached = Segment.attach_arena(Arena.attach(segment.arena.fileno()))
    end = attached.consumer("rx")
    with pytest.raises(BufferError, match="still open"):
        attached.close()
    with pytest.raises(SegmentError, match="has a consumer"):
        segment.consumer("rx")
    end.close()
    attached.close()
    segment.consumer("rx").close()


def test_a_claim_that_fails_claims_nothing(segment):
    segment.create_ring("rx", 64)
    with pytest.raises(TypeError):
        segment.consumer("rx", patient=1)
    segment.consumer("rx").close()


def test_a_name_has_no_zero_byte(segment):
    segment.create_ring("a", 64)
    with pytest.raises(SegmentError, match="none of them 0"):
        segment.create_ring("a\0b", 64)


def test_what_a_forked_child_closes_is_its_own_copy(segment, path):
    segment.create_ring("rx", 64, strategy="batched")
    with segment.listen(path) as handover, segment.producer("rx") as rx:
        rx.ring.push(1)
        child = os.fork()
        if child == 0:
            try:
                rx.close()
                handover.close()
                segment.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        with Segment.attach(path) as attached:
            assert len(attached.participants) == 2
            with pytest.raises(SegmentError, match="has a producer"):
                attached.producer("rx")
            with attached.consumer("rx") as end:
                assert end.ring.pop() is None
                rx.ring.flush()
                assert end.ring.pop() == 1
