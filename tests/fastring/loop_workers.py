"""Loops that wait for each other, each in a thread of its own."""

import threading

from fastring.meeting import Meeting


def together(*jobs):
    """Run each in a thread; what they return."""
    found = [None] * len(jobs)

    def run(number, job):
        found[number] = job()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def yielding(workers, **options):
    """For machines with fewer cores to spare than workers."""
    return Meeting(workers, spins=64, **options)
