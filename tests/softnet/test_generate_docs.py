"""docs/generate.md: every example does what it says, and every name in it is one."""

import re
import shlex
from pathlib import Path

import pytest

from softnet import cli
from softnet.stream_fields import ETHERNET, IPV4, IPV6, TRANSPORT

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/generate.md").read_text()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)


@pytest.mark.parametrize("line", [line for block in blocks("console") for line in block.splitlines()])
def test_a_command_line(line, capsys, monkeypatch, tmp_path):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(line.removeprefix("$ fastring "))) == 0
    assert capsys.readouterr().out


def test_the_file(tmp_path, capsys):
    file = tmp_path / "streams.toml"
    file.write_text(blocks("toml")[0])
    assert cli.main(["generate", str(file), "--clock", "virtual"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    sent = {row[0]: int(row[1].replace(",", "")) for row in rows if row and row[0] in ("dns", "bulk")}
    assert sent["dns"] == 1000
    assert sent["bulk"] > 100


def test_the_python():
    for block in blocks("python"):
        exec(compile(block, "docs/generate.md", "exec"), {})


def test_every_field_is_named():
    names = [*ETHERNET, *IPV4, *IPV6, *(name for table in TRANSPORT.values() for name in table)]
    assert [name for name in names if f"`{name}`" not in TEXT] == []
