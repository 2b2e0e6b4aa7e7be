"""What holds for every test: in CI nothing is skipped, and what is tested is what was installed."""

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.append(str(Path(__file__).resolve().parent / "shared"))  # modules for all tests; tests/ itself has a folder called softnet

# Python over modules that other tests reach, in processes that start slowly under AddressSanitizer.
UNSANITIZED = "softnet/checks", "softnet/running", "softnet/test_check_command.py"

IN_CI = os.environ.get("CI", "").lower() not in ("", "0", "false")

# A noisy machine is slow now and then, which is no failure; CI takes the same examples every time.
settings.register_profile("fastring", deadline=None, derandomize=IN_CI)
settings.load_profile("fastring")


def pytest_report_header():
    import fastring

    return f"fastring: {Path(fastring.__file__).parent}"


def pytest_collection_modifyitems(items):
    for item in items:
        if any(item.path.is_relative_to(Path(__file__).parent / place) for place in UNSANITIZED):
            item.add_marker(pytest.mark.unsanitized)


def pytest_configure():
    """A shell's background jobs ignore Ctrl-C, and nohup's a hangup: so would every command that a test starts and interrupts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_sessionstart():
    """FASTRING_INSTALLED=1 says that fastring must come from this Python's own packages, not from the source folder."""
    import fastring

    if os.environ.get("FASTRING_INSTALLED") and not Path(fastring.__file__).is_relative_to(sys.prefix):
        pytest.exit(f"fastring was imported from {fastring.__file__}, not from {sys.prefix}", returncode=3)


def fail_if_skipped(report):
    """In CI, turn a skipped report into a failed one; an expected failure, reported as a skip too, stays."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, and in CI no test may be: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    return fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report():
    return fail_if_skipped((yield))


@pytest.fixture(autouse=True)
def rules_kept(request):
    """Every driver in every test keeps softnet's rules, but for those that the test says it breaks."""
    from softnet import checks

    with checks.enable_everywhere() as checker:
        yield checker
    marker = request.node.get_closest_marker("breaks_rules")
    if marker is None or marker.args:
        allowed = set() if marker is None else set(marker.args)
        found = [str(finding) for finding in checker.findings if finding.rule.number not in allowed]
        assert not found, "\n".join(found)
