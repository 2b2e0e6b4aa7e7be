"""A capture that another process cuts short while it is mapped: an error that says so, and nobody dies of SIGBUS."""

import gc
import mmap
import os
import signal
import struct
import subprocess
import sys
import threading

import pytest

from fastring.burst import Burst
from fastring.capture import Capture, CaptureError

PAGE = mmap.PAGESIZE
FRAMES = 100_000


@pytest.fixture(params=["pcap", "pcapng"])
def path(tmp_path, request):
    """A capture of many pages, of FRAMES frames in records of 76 bytes."""
    path = tmp_path / f"capture.{request.param}"
    if request.param == "pcap":
        head, record = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1), struct.pack("<IIII", 1, 2, 60, 60) + b"f" * 60
    else:
        section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        head = section + struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
        record = struct.pack("<IIIIIII", 6, 76, 0, 0, 0, 44, 44) + b"f" * 44 + struct.pack("<I", 76)
    path.write_bytes(head + record * FRAMES)
    return path


def lose(path, capture):
    """Cut the file short in such a way that the checks of its size see nothing: only the pages are gone."""
    size = capture.size
    os.truncate(path, 0)
    bytes(capture.data[size // 2 : size // 2 + 1])      # somebody touches a lost page
    os.truncate(path, size)


def test_what_was_handed_out_reads_as_zeroes_and_what_comes_next_is_an_error(path):
    with Capture(path) as capture:
        cursor, burst = capture.cursor(), Burst(64)
        assert cursor.read(burst) == 64
        last = burst[63]
        os.truncate(path, 0)
        assert burst[63] == bytes(len(last))
        for read in (lambda: cursor.read(burst), lambda: next(cursor), capture.scan, capture.index):
            with pytest.raises(CaptureError, match="the file shrank while it was read"):
                read()


def test_lost_pages_are_told_even_if_the_file_has_its_size_again(path):
    with Capture(path) as capture:
        cursor = capture.cursor()
        lose(path, capture)
        for read in (lambda: cursor.read(Burst(64)), lambda: next(capture.cursor()), capture.scan, capture.index):
            with pytest.raises(CaptureError, match="the file shrank while it was read"):
                read()
    with pytest.raises(CaptureError, match="the first bytes are 00"):       # another mapping knows nothing of it
        Capture(path)


def for_ever(step):
    while True:
        step()


@pytest.mark.parametrize("walk", ["read", "next", "scan", "index"])
def test_a_file_cut_short_in_the_middle_of_a_walk_is_an_error_and_no_crash(path, walk):
    whole = path.read_bytes()
    for delay in (0, 0.0005, 0.001, 0.002, 0.005):
        path.write_bytes(whole)
        with Capture(path) as capture:
            burst, cursor = Burst(64), capture.cursor(loop=0)
            walks = {"read": lambda b=burst, c=cursor: c.read(b), "next": cursor.__next__, "scan": capture.scan, "index": capture.index}
            cutter = threading.Timer(delay, os.truncate, (path, 0))
            cutter.start()
            with pytest.raises(CaptureError, match="the file shrank while it was read"):
                for_ever(walks[walk])
            cutter.join()


def test_a_lost_page_is_survived_in_any_thread(path):
    with Capture(path) as capture:
        data = capture.data
        os.truncate(path, 0)
        seen = []
        threads = [threading.Thread(target=lambda n=n: seen.append(data[n * 50 * PAGE])) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [0] * 8


def test_captures_that_come_and_go_find_a_place_in_the_table(tmp_path):
    path = tmp_path / "small.pcap"
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1).ljust(2 * PAGE, b"\0"))
    for _ in range(3000):
        Capture(path).close()
    many = [Capture(path) for _ in range(1100)]         # more than are guarded: the others can be read all the same
    assert many[-1].scan().frames == 0
    del many
    gc.collect()
    with Capture(path) as capture:
        os.truncate(path, 0)
        assert capture.data[PAGE] == 0


def child(script, *arguments, **options):
    return subprocess.run([sys.executable, *options.pop("flags", ()), "-c", script, *map(str, arguments)],
                          capture_output=True, text=True, timeout=60, check=False, **options)


LOSE_A_PAGE = """if True:
    import mmap, os, sys, faulthandler, signal
    from fastring.capture import Capture
    capture = Capture(sys.argv[1])
"""
TOUCH = """
    os.truncate(sys.argv[1], 0)
    assert capture.data[8192] == 0
    print("alive")
"""
FOREIGN = """
    path = sys.argv[1] + ".other"
    open(path, "wb").write(bytes(8192))
    other = mmap.mmap(os.open(path, os.O_RDONLY), 8192, prot=mmap.PROT_READ)
    os.truncate(path, 0)
    other[4096]
"""


def test_faulthandler_does_not_mind(path):
    done = child(LOSE_A_PAGE + TOUCH, path, flags=("-X", "faulthandler"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


def test_the_handler_comes_back_with_the_next_capture_when_another_took_its_place(path):
    again = "\n    faulthandler.enable(); other = Capture(sys.argv[1])"
    done = child(LOSE_A_PAGE + again + TOUCH, path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "alive\n", "")


@pytest.mark.unsanitized        # AddressSanitizer reports a SIGBUS its own way
@pytest.mark.parametrize("before", ["", "faulthandler.enable()", "faulthandler.enable(); again = Capture(sys.argv[1])"])
@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("cause", [FOREIGN, "\n    os.kill(os.getpid(), signal.SIGBUS)\n"], ids=["fault", "sent"])
def test_a_sigbus_of_somebody_else_kills_as_it_did_before(path, before, early, cause):
    done = child(LOSE_A_PAGE + "\n    " + before + cause, path, flags=("-X", "faulthandler") if early else ())
    assert done.returncode == -signal.SIGBUS
    assert ("Fatal Python error: Bus error" in done.stderr) == (early or bool(before))


@pytest.mark.unsanitized
def test_a_handler_that_was_there_before_gets_what_is_not_ours(path):
    handler = "\n    signal.signal(signal.SIGBUS, lambda *_: print('theirs', flush=True) or os._exit(7)); again = Capture(sys.argv[1])"
    done = child(LOSE_A_PAGE + handler + "\n    os.kill(os.getpid(), signal.SIGBUS)\n    import time; time.sleep(5)\n", path)
    assert (done.returncode, done.stdout) == (7, "theirs\n")
