"""docs/vm.md: what it has one type is typed."""

import shlex

import pytest
from documents import Document
from guests import served
from namespaces import namespace
from vm import Guest, missing

from softnet.commands.serve import parser

PAGE = Document("docs/vm.md")
HOST, MACHINE, INSIDE, TWO, SEEING, *_ = PAGE.blocks("sh")  # the rest: tests/e1000/test_unprivileged.py


def test_from_nothing_to_ping(tmp_path):
    reason = missing()
    if reason:
        pytest.skip(reason)
    serve, *addresses = HOST.splitlines()
    assert shlex.split(serve) == ["fastring", "serve", "--socket", "/tmp/card", "--wire", "tap:tap0", "&"]
    with namespace() as where, served(where, tmp_path) as (path, _):
        for command in addresses:
            where.run(*shlex.split(command))
        program, *options, disk = shlex.split(MACHINE.replace("\\\n", " ").replace("/tmp/card", str(path)))
        assert (program, disk) == ("qemu-system-x86_64", "disk.img")
        with Guest(tmp_path / "vm", options, where=where, memory=None) as guest:
            guest.run("insmod /e1000.ko")
            for command in INSIDE.splitlines():
                guest.wait_for(command)


@pytest.mark.parametrize("block", [TWO, SEEING])
def test_what_else_is_served(block):
    program, command, *options = shlex.split(block)
    assert (program, command) == ("fastring", "serve")
    assert parser().parse_args(options).wire == "tap:tap0"
