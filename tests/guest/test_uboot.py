"""A third driver, U-Boot's, which is a machine's firmware: it fetches a file over the card and tells its sum."""

import random
import struct
import time
import zlib
from pathlib import Path

import pytest
from guests import HOST, boot_servers, host_up, served
from namespaces import namespace
from vm import BOOT, card_at, missing, ram, start_qemu

FIRMWARE = Path("/usr/lib/u-boot/qemu-x86/u-boot.rom")
SCRIPT = f"""\
ping {HOST}
tftpboot 1000000 {HOST}:noise
crc32 1000000 ${{filesize}}
echo That is all.
"""


def script_image(text):
    """What `mkimage -T script` makes of a script: U-Boot's legacy image format (include/image.h), where Linux is 5, x86 3, a script 6."""
    data = struct.pack(">2I", len(text), 0) + text.encode()
    parts = [0x27051956, 0, 0, len(data), 0, 0, zlib.crc32(data), 5, 3, 6, 0, b"boot"]
    parts[1] = zlib.crc32(struct.pack(">7I4B32s", *parts))
    return struct.pack(">7I4B32s", *parts) + data


def test_uboot_fetches_a_file(tmp_path):
    """It asks for DHCP by itself, and for the script boot.scr.uimg from whoever answered."""
    if reason := missing():
        pytest.skip(reason)
    if not FIRMWARE.exists():
        pytest.skip("needs u-boot-qemu")
    files, console = tmp_path / "files", tmp_path / "console"
    files.mkdir()
    noise = random.Random(3).randbytes((1 << 20) + 77)
    (files / "noise").write_bytes(noise)
    (files / "boot.scr.uimg").write_bytes(script_image(SCRIPT))
    with namespace() as where, served(where, tmp_path) as (path, _):
        host_up(where)
        options = [*ram(512), "-bios", FIRMWARE, "-serial", f"file:{console}", *card_at(path)]
        with boot_servers(where, files), start_qemu(where, tmp_path / "qemu-says", *options) as qemu:
            try:
                deadline = time.monotonic() + BOOT
                while "That is all." not in (told := console.read_text() if console.exists() else ""):
                    assert qemu.poll() is None, (tmp_path / "qemu-says").read_text()
                    assert time.monotonic() < deadline, told
                    time.sleep(0.1)
            finally:
                qemu.kill()
    assert f"host {HOST} is alive" in told
    assert f"==> {zlib.crc32(noise):08x}" in told
