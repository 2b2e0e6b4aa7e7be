"""docs/rewrite.md: its commands print what it says, its Python runs, and its table has all options."""

import shlex
import subprocess
import sys

import pytest
from documents import ROOT, Document

from softnet.commands import rewrite

DOCUMENT = Document("docs/rewrite.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rewrite-document")
    (folder / "tests").symlink_to(ROOT / "tests")
    return folder


@pytest.mark.parametrize(("command", "printed"), list(DOCUMENT.commands()), ids=lambda text: text.partition("\n")[0][:60])
def test_a_command_prints_what_the_document_says(folder, fastring, monkeypatch, command, printed):
    monkeypatch.chdir(folder)  # the commands read what earlier ones wrote
    outcome = fastring(*shlex.split(command)[1:])
    assert outcome.out + outcome.err == printed
    assert outcome.status == (2 if outcome.err else 0)


def test_its_python_prints_what_it_says(folder):
    (example,), (printed,) = DOCUMENT.blocks("python"), DOCUMENT.blocks("text")
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == printed


def test_every_option_is_in_it():
    for action in rewrite.parser()._actions:
        for option in action.option_strings:
            assert option in ("-h", "--help") or not option.startswith("--") or f"`{option}" in DOCUMENT.text, option
