"""Python's queues, a program for one measurement as those of harness.h are: the peers of a ring filled from NumPy.

    python queues.py KIND items|payloads COUNT CPU,CPU      one line of JSON: nanoseconds each

Items are the numbers 0, 1, ...; payloads are bytes objects of 1500. Between two processes, SimpleQueue between two threads. The receiver
adds up the items, or the payloads' lengths.
"""

import functools
import json
import multiprocessing
import os
import queue
import struct
import sys
import threading
import time

import numpy as np

BURST, SIZE = 256, 1500
LARGE = 4_000_000  # bytes in faster-fifo's buffer: several bursts of payloads


def faster_fifo(**options):
    from faster_fifo import Queue

    return Queue(max_size_bytes=LARGE, **options)


def packed():
    """With numbers as 8 bytes instead of pickles, which is all that these need."""
    return faster_fifo(dumps=struct.Struct("<q").pack, loads=functools.partial(int.from_bytes, byteorder="little"))


def plain():
    """With bytes as they are instead of pickles. What is received is copied out, since the next call reuses the buffer."""
    return faster_fifo(dumps=bytes, loads=bytes)


# --- ways to send `count` messages, and to take them; `one(number)` makes a message, `weigh(message)` is what is added up

def send_single(queue, count, one):
    for number in range(count):
        queue.put(one(number))


def take_single(queue, count, weigh):
    return sum(weigh(queue.get()) for _ in range(count))


def send_many(queue, count, one):
    for first in range(0, count, BURST):
        queue.put_many([one(number) for number in range(first, min(first + BURST, count))])


def take_many(queue, count, weigh):
    total = 0
    while count:
        messages = queue.get_many(max_messages_to_get=BURST)
        total += sum(map(weigh, messages))
        count -= len(messages)
    return total


def send_arrays(queue, count, one):
    """Arrays of 256 numbers, each one message: what the queue can do without being asked for single items."""
    numbers = np.arange(BURST)
    for first in range(0, count, BURST):
        queue.put((numbers + first).tobytes())


def take_arrays(queue, count, weigh):
    return sum(int(np.frombuffer(queue.get(), dtype=np.int64).sum()) for _ in range(count // BURST))


SINGLE, MANY, ARRAYS = (send_single, take_single), (send_many, take_many), (send_arrays, take_arrays)

KINDS = {  # items, and payloads: how the queue is made, and used
    "faster-fifo": ((faster_fifo, *SINGLE), (faster_fifo, *SINGLE)),
    "faster-fifo many": ((faster_fifo, *MANY), (faster_fifo, *MANY)),
    "faster-fifo many, no pickle": ((packed, *MANY), (plain, *MANY)),
    "faster-fifo arrays": ((plain, *ARRAYS), None),
    "multiprocessing.Queue": ((multiprocessing.Queue, *SINGLE), (multiprocessing.Queue, *SINGLE)),
    "multiprocessing.Queue arrays": ((multiprocessing.Queue, *ARRAYS), None),
    "SimpleQueue, threads": ((queue.SimpleQueue, *SINGLE), (queue.SimpleQueue, *SINGLE)),
}


def number_itself(number):
    return number


def payload(number, _payload=bytes(SIZE)):
    return _payload


def run(kind, what, count, cpus):
    make, send, take = KINDS[kind][what == "payloads"]
    one, weigh = (payload, len) if what == "payloads" else (number_itself, number_itself)
    messages, threads = make(), kind.endswith("threads")
    met = threading.Barrier(2) if threads else multiprocessing.Barrier(2)
    begun, told = (queue.SimpleQueue(), queue.SimpleQueue()) if threads else (multiprocessing.SimpleQueue(), multiprocessing.SimpleQueue())

    def produce():
        os.sched_setaffinity(0, {cpus[0]})
        met.wait()
        begun.put(time.perf_counter_ns())
        send(messages, count, one)

    def consume():
        os.sched_setaffinity(0, {cpus[1]})
        met.wait()
        total = take(messages, count, weigh)
        told.put((time.perf_counter_ns(), total))

    worker = threading.Thread if threads else multiprocessing.get_context("fork").Process
    workers = [worker(target=target, daemon=True) for target in (produce, consume)]
    for one_of_two in workers:
        one_of_two.start()
    start, (end, total) = begun.get(), told.get()
    for one_of_two in workers:
        one_of_two.join()
    expected = SIZE * count if what == "payloads" else count * (count - 1) // 2
    if total != expected:
        sys.exit(f"{kind}: items were lost")
    return (end - start) / count


def main():
    kind, what, count, cpus = sys.argv[1:]
    count = int(count) // BURST * BURST
    print(json.dumps({"peer": kind, "what": what, "count": count, "ns": run(kind, what, count, [int(cpu) for cpu in cpus.split(",")])}))


if __name__ == "__main__":
    main()
