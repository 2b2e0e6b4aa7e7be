"""docs/wires.md: its specs are there, and its examples do what it shows, in a network namespace."""

import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from namespaces import namespace

from fastring.clock import MonotonicClock
from softnet.wire import KINDS, open_wire

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "wires.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def as_pattern(shown):
    """What was shown: … stands for anything on its line, or for lines if it is alone on one; columns may be of any width."""
    lines = [" +".join(map(re.escape, line.split())).replace("…", ".*") for line in shown.splitlines()]
    return "".join(r"(?:.*\n)*" if line == ".*" else f" *{line} *\n" for line in lines)


@pytest.fixture
def net():
    if not os.path.exists("/dev/net/tun"):
        pytest.skip("needs /dev/net/tun")
    with namespace() as net:
        yield net


def test_every_spec_in_the_table_is_a_kind_of_wire():
    table = re.search(r"^\| spec \|.*?\n\n", PAGE, re.MULTILINE | re.DOTALL)[0].strip()
    kinds = {re.match(r"[a-z-]+", spec)[0] for row in table.splitlines()[2:] for spec in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert kinds == set(KINDS)


@pytest.mark.parametrize("block", blocks("console"), ids=lambda block: block[2:40])
def test_commands_print_what_is_shown(net, block):
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        words = shlex.split(command)
        if words[0] == "fastring":
            words[:1] = [sys.executable, "-m", "softnet.cli"]
        said = net.run(*words, cwd=ROOT).stdout
        assert re.fullmatch(as_pattern(shown), said), said


PROGRAMS = list(zip(blocks("python"), blocks("text"), strict=True))


@pytest.mark.parametrize(("program", "printed"), PROGRAMS, ids=[printed.strip() for _, printed in PROGRAMS])
def test_programs_print_what_is_shown(net, program, printed):
    assert net.run(sys.executable, "-c", program, cwd=ROOT).stdout == printed


@pytest.mark.parametrize("kind", ["packet", "xdp"])
def test_its_options_are_those_there_are(kind):
    section = re.findall(rf"^`{kind}:`.*?(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)[-1]
    named = set(re.findall(r"`(\w+)=", "".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| `"))))
    with pytest.raises(ValueError, match="has no option 'nonsense'") as refused:
        open_wire(f"{kind}:eth1,nonsense=on", clock=MonotonicClock())
    assert named == set(str(refused.value).partition("it has ")[2].split(", "))
