"""What README.md shows is what happens: its commands are run and its Python is executed."""

import os
import re
import shlex
import subprocess
import sys
import time

import pytest
from documents import ROOT, Document

README = Document("README.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("readme")
    (folder / "tests").symlink_to(ROOT / "tests")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder
        for process in RUNNING:
            process.kill()
            process.communicate()


RUNNING = []


def background(folder, arguments):
    """Leave a command running until the end, and wait until the others can reach it."""
    command = [sys.executable, "-m", "softnet.cli", *arguments]
    RUNNING.append(subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    deadline = time.monotonic() + 60
    while not (os.path.isdir(folder / "fastring") and os.listdir(folder / "fastring")):
        assert RUNNING[-1].poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("command", "output"), list(README.commands()), ids=lambda text: text.partition("\n")[0][:60])
def test_a_command_prints_what_the_readme_says(folder, command, output):
    program, *arguments = shlex.split(command)
    assert program == "fastring"
    if arguments[-1] == "&":
        background(folder, arguments[:-1])
        return
    done = subprocess.run(
        [sys.executable, "-m", "softnet.cli", *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", output)


PRINTED = ["1 packet: hello, card!", *(text.strip() for text in README.blocks("text")), "PHY identifier 0caf"]


@pytest.mark.parametrize(("example", "printed"), list(zip(README.blocks("python"), PRINTED, strict=True)), ids=PRINTED)
def test_a_library_example_runs_and_is_short(folder, example, printed):
    assert len(example.splitlines()) <= 15
    done = subprocess.run([sys.executable, "-c", example], cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == printed


@pytest.mark.parametrize("target", re.findall(r"^    make ([a-z]+)", README.text, re.MULTILINE))
def test_a_make_target_the_readme_names_is_there(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#]+)\)", README.text))
def test_a_link_leads_somewhere(link):
    assert (ROOT / link).exists()
