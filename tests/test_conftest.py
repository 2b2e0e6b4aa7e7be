"""What tests/conftest.py promises: in CI a skip is a failure that says why; elsewhere it is a skip."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = """
import pytest

def test_skips():
    pytest.skip("no tcpdump here")

@pytest.mark.skipif(True, reason="not root")
def test_is_marked():
    pass

@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    assert False
"""
MODULE_SKIPS = 'import pytest\npytest.importorskip("no_such_module")\n'


@pytest.fixture
def run_pytest(tmp_path):
    def run(source, **variables):
        (tmp_path / "conftest.py").write_text((Path(__file__).parent / "conftest.py").read_text())
        (tmp_path / "test_it.py").write_text(source)
        environment = {name: value for name, value in os.environ.items() if name not in ("CI", "FASTRING_INSTALLED")} | variables
        command = [sys.executable, "-m", "pytest", "--rootdir", tmp_path, "-p", "no:cacheprovider", tmp_path]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_skip_in_ci_fails_and_tells_its_reason(run_pytest):
    done = run_pytest(SKIPS, CI="true")
    assert "1 failed, 1 xfailed, 1 error" in done.stdout    # what a mark skips fails before it runs: an error
    assert "no tcpdump here" in done.stdout
    assert "not root" in done.stdout
    assert done.returncode == 1


@pytest.mark.parametrize("ci", ["", "0", "false"])
def test_a_skip_elsewhere_stays_a_skip(run_pytest, ci):
    done = run_pytest(SKIPS, CI=ci)
    assert "2 skipped, 1 xfailed" in done.stdout
    assert done.returncode == 0


def test_a_module_skipped_in_ci_fails(run_pytest):
    done = run_pytest(MODULE_SKIPS, CI="true")
    assert "no_such_module" in done.stdout
    assert done.returncode != 0


def test_the_source_folder_is_refused_where_an_installed_fastring_is_asked_for(run_pytest, tmp_path):
    (tmp_path / "fastring").mkdir()
    (tmp_path / "fastring" / "__init__.py").touch()
    done = run_pytest("def test_nothing(): pass", FASTRING_INSTALLED="1", PYTHONPATH=str(tmp_path))
    assert "not from" in done.stdout + done.stderr
    assert done.returncode == 3
