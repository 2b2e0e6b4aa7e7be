"""docs/replay.md: its commands do what it says, and its table has every option of tcpreplay's."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from namespaces import namespace, veth

from softnet.commands.replay import parser

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/replay.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replay")
    (folder / "tests").symlink_to(ROOT / "tests")
    return folder


@pytest.fixture(scope="module")
def host():
    """A namespace with eth0 and eth1, cables to nobody in particular."""
    with namespace() as near, namespace() as far:
        for name in ("eth0", "eth1"):
            veth(near, name, far, name)
        yield near


def as_run(command):
    program, *arguments = shlex.split(command)
    return [sys.executable, "-m", "softnet.cli", *arguments] if program == "fastring" else [program, *arguments]


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block.partition("\n")[0])
def test_a_command_prints_what_the_text_says(block, folder):
    command, _, output = block.removeprefix("$ ").partition("\n")
    done = subprocess.run(as_run(command), cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


@pytest.mark.parametrize("block", blocks("sh"), ids=range(len(blocks("sh"))))
def test_commands_onto_interfaces_work(block, folder, host):
    if "tcpprep" in block and not shutil.which("tcpprep"):
        pytest.skip("needs tcpreplay")
    for command in block.splitlines():
        done = host.run(*as_run(command), cwd=folder)
        if command.startswith("fastring"):
            assert re.search(r"^lost +0 frames$", done.stdout, re.MULTILINE), done.stdout


def test_every_option_of_tcpreplay_is_in_the_table():
    if not shutil.which("tcpreplay"):
        pytest.skip("needs tcpreplay")
    told = subprocess.run(["tcpreplay", "--help"], capture_output=True, text=True, check=False).stdout
    options = set(re.findall(r"^ +(?:-[^-\s], |    )?(--[a-z][a-z0-9-]+)", told, re.MULTILINE)) - {"--no-load-opts"}
    assert len(options) > 30
    assert options <= set(re.findall(r"`(--[a-z0-9-]+)`", TEXT.partition("## tcpreplay's options")[2]))


def test_every_option_here_is_one():
    rows = re.findall(r"^\|[^|]*\|([^|]*)\|[^|]*\|$", TEXT.partition("## tcpreplay's options")[2], re.MULTILINE)
    ours = {option for row in rows for option in re.findall(r"`(--?[A-Za-z0-9-]+)", row)}
    assert len(ours) > 30
    assert ours <= set(parser()._option_string_actions)
