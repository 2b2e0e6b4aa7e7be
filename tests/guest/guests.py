"""A card served to a virtual machine, and the host's kernel at the other end of its wire, or what a machine boots from there."""

import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

from namespaces import namespace
from vm import Guest

HOST, GUEST = "10.9.0.1", "10.9.0.2"
CARD = "52:54:00:12:34:56"
HTTP = 8080


@contextmanager
def served(where, folder, *options, tap="tap0"):
    """`fastring serve` in a namespace, the card on a TAP that the namespace's kernel answers at; yields (socket, process).

    What it tells goes into folder/server-says.
    """
    path, says = folder / "card", folder / "server-says"
    command = (sys.executable, "-m", "softnet.cli", "serve", "--socket", path, "--wire", f"tap:{tap}", *options)
    with open(says, "w") as told:
        process = where.popen(*command, stderr=told, stdout=subprocess.PIPE, text=True)
    try:
        while "ready" not in says.read_text():
            assert process.poll() is None, says.read_text()
            time.sleep(0.02)
        yield path, process
    finally:
        process.terminate()
        process.communicate(timeout=60)


@contextmanager
def served_guest(folder, kernel, *options, **machine):
    """A namespace with a served card on its TAP, and a guest whose driver has brought the link up: (guest, where, server)."""
    with namespace() as where, served(where, folder, *options) as (path, server):
        host_up(where)
        with Guest(folder / "vm", path, where=where, kernel=kernel, **machine) as guest:
            guest.run("insmod /e1000.ko")
            up(guest)
            yield guest, where, server


def host_up(where):
    """Bring the TAP up, with the host's address."""
    where.ip("addr", "add", f"{HOST}/24", "dev", "tap0")
    where.ip("link", "set", "tap0", "up")


def up(guest, address=GUEST):
    """Bring the guest's interface up, with its address, and wait for its link."""
    guest.run(f"ip link set eth0 up && ip addr replace {address}/24 dev eth0")
    guest.wait_for("grep -q 1 /sys/class/net/eth0/carrier")
    guest.wait_for(f"ping -c 1 -W 1 {HOST}")


@contextmanager
def boot_servers(where, files):
    """DHCP and TFTP, by dnsmasq, and HTTP."""
    options = ["--conf-file=/dev/null", "--port=0", "--interface=tap0", "--bind-interfaces", "--user=root", "--leasefile-ro", "--no-ping"]
    options += [f"--dhcp-range={GUEST},{GUEST}", "--dhcp-boot=boot.ipxe", "--enable-tftp", f"--tftp-root={files}"]
    with ExitStack() as stack:
        for name, command in (
            ("dnsmasq", ("dnsmasq", "--keep-in-foreground", "--log-facility=-", *options)),
            ("http", (sys.executable, "-m", "http.server", HTTP, "--bind", HOST, "--directory", files)),
        ):
            log = stack.enter_context(open(files.parent / f"{name}.log", "w"))
            process = stack.enter_context(where.popen(*command, stdout=log, stderr=log))
            stack.callback(process.terminate)
        yield
