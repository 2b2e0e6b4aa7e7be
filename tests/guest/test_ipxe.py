"""A second driver, iPXE's, from QEMU's ROM: a machine without a disk boots over the card, and Linux's takes the card over from it."""

import hashlib
import random
import re
import shutil
import signal

import pytest
from guests import HOST, HTTP, boot_servers, host_up, served, up
from namespaces import namespace
from vm import KERNEL_OPTIONS, Guest, card_at, guest_folder, make_initrd, missing

from e1000.bus.qemu import qemu_folder

ROM = qemu_folder() / "stepped/usr/share/qemu/pxe-e1000.rom"
SCRIPT = f"""#!ipxe
kernel tftp://{HOST}/vmlinuz {KERNEL_OPTIONS}
initrd http://{HOST}:{HTTP}/initrd
ifstat
boot
"""


@pytest.fixture(autouse=True)
def can_boot():
    reason = missing()
    if reason or not shutil.which("dnsmasq"):
        pytest.skip(reason or "needs dnsmasq")


def test_a_machine_without_a_disk_boots_over_the_card(tmp_path):
    """DHCP, a script and the kernel by TFTP, the rest by HTTP. In that is noise, whose sum the machine tells when Linux runs.

    iPXE leaves a card that Linux's driver brings up at once, and neither does what the manual forbids.
    """
    files = tmp_path / "files"
    files.mkdir()
    noise = random.Random(7).randbytes(8 << 20)
    make_initrd(files / "initrd", "bookworm", noise=noise)
    shutil.copy(guest_folder() / "bookworm/vmlinuz", files)
    (files / "boot.ipxe").write_text(SCRIPT)
    with namespace() as where, served(where, tmp_path, "--strict") as (path, server):
        host_up(where)
        card = card_at(path, romfile=str(ROM), bootindex=1)
        with boot_servers(where, files), Guest(tmp_path / "vm", card, where=where, loads=False) as guest:
            told = guest.console.read_text(errors="replace")
            assert "using 82540em" in told
            sent, received = re.findall(r"Link:up, TX:(\d+) TXE:0 RX:(\d+) RXE:0", told)[-1]
            assert int(sent) > 5000  # an acknowledgement for each block of the kernel
            assert int(received) > 10_000
            assert hashlib.md5(noise).hexdigest() in guest.run("md5sum /noise")
            guest.run("insmod /e1000.ko")
            up(guest)
            guest.run(f"wget -q -O /tmp/kernel http://{HOST}:{HTTP}/vmlinuz")
            assert hashlib.md5((files / "vmlinuz").read_bytes()).hexdigest() in guest.run("md5sum /tmp/kernel")
        server.send_signal(signal.SIGINT)
        server.wait(60)
    assert "error: " not in (tmp_path / "server-says").read_text()
