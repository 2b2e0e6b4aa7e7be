"""Network namespaces of a test's own, for whatever needs real interfaces: nothing is ever done to the machine's.

    with namespace() as left, namespace() as right:
        veth(left, "eth0", right, "eth0")
        left.ip("addr", "add", "10.0.0.1/24", "dev", "eth0")
        with left.inside():                         # this thread: what it opens and starts is left's
            wire = TapWire("tap0")
        left.run("ping", "-c1", "10.0.0.2")

They have no name: the kernel takes one down, with all that is in it, once nobody holds it any more, however the test ended.
"""

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest

CLONE_NEWNET = 0x40000000
OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


def _check(status, what):
    if status != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


@contextmanager
def _back_again():
    """What becomes of this thread's namespace within is undone."""
    home = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        _check(_libc.setns(home, CLONE_NEWNET), "setns")
        os.close(home)


class Namespace:
    """A network namespace, `lo` up, else empty. Held by a file descriptor: commands and threads go in and out."""

    def __init__(self, *, ipv6=False):
        """`ipv6`: interfaces get link-local addresses by themselves, and speak unasked (router solicitations, MLD)."""
        with _back_again():
            _check(_libc.unshare(CLONE_NEWNET), "unshare")
            self.fd = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
            if not ipv6 and os.path.isdir("/proc/sys/net/ipv6"):        # what is there is the namespace's own
                with open("/proc/sys/net/ipv6/conf/default/addr_gen_mode", "w") as mode:
                    mode.write("1")
        self.ip("link", "set", "lo", "up")

    @property
    def path(self):
        """For tools that are told a namespace by name or file: `ip link set eth1 netns PATH`."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    @contextmanager
    def inside(self):
        """This thread, and the processes and threads that it starts, are in the namespace; sockets and TAPs stay in it for good."""
        with _back_again():
            _check(_libc.setns(self.fd, CLONE_NEWNET), "setns")
            yield self

    def run(self, *command, check=True, timeout=60, **options):
        """Run a command in it to its end; its output is text. Raises AssertionError with what it said, if it failed."""
        with self.inside():
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, check=False, **options)
        if check:
            assert done.returncode == 0, f"{' '.join(done.args)}: {done.stderr or done.stdout}"
        return done

    def popen(self, *command, **options):
        """Start a command in it."""
        with self.inside():
            return subprocess.Popen(list(map(str, command)), **options)

    def ip(self, *arguments):
        """Run iproute2's `ip` in it; what it prints."""
        return self.run("ip", *arguments).stdout

    def close(self):
        """Let go of it. Again is harmless."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def namespace(**options):
    """A new Namespace. Skips the test, saying why, where there can be none."""
    if not shutil.which("ip"):
        pytest.skip("needs iproute2")
    try:
        return Namespace(**options)
    except PermissionError as error:
        pytest.skip(f"needs the right to make network namespaces (root, or CAP_SYS_ADMIN): {error}")


def veth(a, name_a, b, name_b, *, mtu=1500):
    """A veth pair between two namespaces, both ends up."""
    a.ip("link", "add", name_a, "mtu", mtu, "type", "veth", "peer", "name", name_b, "mtu", mtu, "netns", b.path)
    a.ip("link", "set", name_a, "up")
    b.ip("link", "set", name_b, "up")


def deleting(here, interface, *, after):
    """For `progress`: a function that deletes an interface once more packets than these are sent."""
    left = [interface]

    def progress(sent):
        if left and sent > after:
            here.ip("link", "del", left.pop())

    return progress
