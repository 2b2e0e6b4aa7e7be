"""`fastring serve` with no privileges: in a sandbox with only its socket's folder and its wire, and as nobody. What docs/vm.md says."""

import json
import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from documents import Document
from namespaces import namespace
from served_cards import RemoteCard

import fastring
import softnet
from e1000.driver import remove
from fastring.burst import Burst
from softnet.commands.serve import parser

NOBODY = 65534
SECONDS = 120
FRAME = b"\xff" * 6 + b"\2\0\0\0\0\1\x88\xb5" + bytes(range(200))
BACK = b"\x52\x54\0\x12\x34\x56" + FRAME[6:]
OURS = (Path(module.__file__).parents[1] for module in (softnet, fastring))  # an editable installation's are on no path
MODULES = sorted({str(Path(folder).resolve()) for folder in (*sys.path, *OURS) if Path(folder).is_dir()})
SETPRIV = shlex.split("setpriv --no-new-privs --reuid nobody --regid nogroup --clear-groups --bounding-set=-all --inh-caps=-all")
BWRAP = shlex.split("bwrap --unshare-all --die-with-parent --new-session --cap-drop ALL --proc /proc --dev /dev")
LOOK = """
import json, os, socket, sys
print(json.dumps([*map(os.path.exists, sys.argv[1:]), [name for _, name in socket.if_nameindex()]]))
"""
pytestmark = pytest.mark.unsanitized  # bwrap and setpriv would be given AddressSanitizer's libraries, too


def needs(command):
    if not shutil.which(command):
        pytest.skip(f"needs {command}")


def needs_sandbox():
    needs("bwrap")
    tried = subprocess.run([*sandbox(), "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"needs the right to make namespaces: {tried.stderr.strip()}")


def sandbox(*shared):
    """bwrap's command line: Python and its modules to read, `shared` folders to write, no network, nothing else."""
    folders = ["/usr", sys.prefix, sys.base_prefix, *MODULES]
    command = list(BWRAP)
    for folder in dict.fromkeys(folders):
        command += ["--ro-bind", folder, folder]
    for link in ("/bin", "/lib", "/lib64"):
        command += ["--symlink", f"usr{link}", link]
    for folder in shared:
        command += ["--bind", str(folder), str(folder)]
    return command


def as_nobody():
    """setpriv's command line; Python is brought to where nobody may read it."""
    visible = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev"]
    folders = dict.fromkeys((sys.prefix, sys.base_prefix, *MODULES))
    closed = dict.fromkeys(parent for folder in folders for parent in Path(folder).parents if not parent.stat().st_mode & 1)
    for parent in closed:
        visible += ["--tmpfs", str(parent)]
    for folder in folders:
        inside = [parent for parent in reversed(Path(folder).parents) if any(parent.is_relative_to(other) for other in closed)]
        if inside:
            for parent in inside:
                visible += ["--dir", str(parent)]  # bwrap itself would make it for root alone
            visible += ["--ro-bind", folder, folder]
    return [*visible, "--cap-add", "ALL", *SETPRIV]


def environment():
    """Of the server: the modules of this process, not what the folder it starts in has besides."""
    path = os.pathsep.join(filter(None, sys.path))
    return {"PATH": os.environ["PATH"], "PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONDONTWRITEBYTECODE": "1"}


def lock_no_memory():
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))


def serve(undo, start, prefix, path, wire):
    """Start the server; returns the process once it listens."""
    command = [*prefix, sys.executable, "-m", "softnet.cli", "serve", "--socket", str(path), "--wire", wire]
    process = start(command, env=environment(), stderr=subprocess.PIPE, text=True, preexec_fn=lock_no_memory)
    undo.callback(stop, process)
    line = process.stderr.readline()
    assert line == f"fastring serve: ready at {path}\n", line + process.stderr.read()
    return process


def stop(process):
    with suppress(OSError):  # it has ended
        os.kill(server_of(process), signal.SIGKILL)  # not only what brought it there
    process.kill()
    process.wait(SECONDS)
    process.stderr.close()


def told(pid, field):
    return next(line.split()[1] for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(field))


def server_of(process):
    """The pid of the server itself: the last of a line of children."""
    pid = process.pid
    while children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(children[0])
    return pid


class Driver(RemoteCard):
    """Ours, on the card at `path`."""

    def exchange(self, far, back):
        """A hundred frames each way; `back` sends one to the card."""
        assert self.device.xmit(Burst.from_packets([FRAME] * 100)) == 100
        assert [far.recv(4096) for _ in range(100)] == [FRAME] * 100
        for _ in range(100):
            back(BACK)
        self.until(lambda: len(self.sink.packets) == 100)
        assert self.sink.packets == [BACK] * 100
        remove(self.device)


def check_powerless(pid):
    """No capability of any kind, and none to come; status of the process itself."""
    assert {told(pid, field) for field in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert told(pid, "NoNewPrivs") == "1"


def test_a_server_in_a_sandbox_has_its_folder_and_its_wire_and_serves(undo, tmp_path):
    needs_sandbox()
    folder = tmp_path / "shared"
    folder.mkdir()
    (tmp_path / "secret").write_text("outside")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as far:
        far.settimeout(SECONDS)
        far.bind(str(folder / "far"))
        process = serve(undo, subprocess.Popen, sandbox(folder), folder / "card", f"unix:{folder}/near,remote={folder}/far")
        pid = server_of(process)
        check_powerless(pid)
        Driver(undo, str(folder / "card")).exchange(far, lambda frame: far.sendto(frame, str(folder / "near")))
        command = [*sandbox(folder), sys.executable, "-c", LOOK, str(tmp_path / "secret"), "/etc/passwd"]
        inside = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
        assert json.loads(inside.stdout) == [False, False, ["lo"]]


def test_a_server_as_nobody_serves_a_tap_that_was_made_for_it(undo, tmp_path):
    needs("setpriv")
    needs_sandbox()
    if os.geteuid() != 0:
        pytest.skip("needs root, to become nobody")
    folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="fastring-nobody-")))
    os.chown(folder, NOBODY, NOBODY)
    here = undo.enter_context(namespace())
    here.ip("tuntap", "add", "tap0", "mode", "tap", "user", NOBODY)
    here.ip("link", "set", "tap0", "up")
    process = serve(undo, lambda command, **options: here.popen(*command, **options), as_nobody(), folder / "card", "tap:tap0")
    pid = server_of(process)
    check_powerless(pid)
    assert told(pid, "Uid") == str(NOBODY)
    with here.inside():
        far = undo.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5)))
    far.bind(("tap0", 0))
    far.settimeout(SECONDS)
    Driver(undo, str(folder / "card")).exchange(far, far.send)


def test_the_guide_says_so():
    nobody, boxed = (block for block in Document("docs/vm.md").blocks("sh") if "setpriv" in block or "bwrap" in block)
    *made, folder, server = nobody.replace("\\\n", " ").splitlines()
    assert made == ["ip tuntap add mode tap user nobody name tap0", "ip link set tap0 up"]
    assert folder.startswith("install -d -o nobody ")
    words = shlex.split(server)
    assert words[: len(SETPRIV)] == SETPRIV
    assert parser().parse_args(words[len(SETPRIV) + 2 :]).wire == "tap:tap0"
    words = shlex.split(boxed.replace("\\\n", " "))
    assert words[: len(BWRAP)] == BWRAP
    assert parser().parse_args(words[words.index("serve") + 1 :]).wire.startswith("unix:")
