"""fastring check: good drivers pass, broken ones fail where they should, and no driver takes the run down."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from softnet.conformance import command, report
from softnet.conformance.runner import Found, Result
from softnet.conformance.scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
MINIMAL = f"{ROOT / 'examples/minimal_e1000.py'}:Driver"
BROKEN = Path(__file__).parent / "broken_drivers.py"
FEW = ("--packets", "1000")


def broken(name):
    return f"{BROKEN}:{name}"


@pytest.fixture
def checked(fastring):
    """Check a driver and return (status, report)."""

    def run(spec, *options):
        outcome = fastring("check", spec, "--json", *FEW, *options)
        assert outcome.out, outcome.err
        return outcome.status, json.loads(outcome.out)

    return run


# --- good drivers ---


@pytest.mark.parametrize("spec", ["e1000.driver:probe", MINIMAL], ids=["shipped", "minimal"])
def test_a_good_driver_passes_everything(checked, spec):
    status, report = checked(spec)
    assert report["findings"] == []
    assert [(each["name"], each["status"]) for each in report["scenarios"]] == [(name, "ok") for name in SCENARIOS]
    assert (status, report["clean"], report["driver"]) == (0, True, spec)


def test_probe_gets_the_options_that_are_given(checked):
    options = ("--option", "number=0x10", "--option", "text=a b", "--option", "flag=True")
    status, report = checked(broken("told"), "--only", "probe-remove", *options)
    assert status == 1
    assert "{'number': 16, 'text': 'a b', 'flag': True}" in report["scenarios"][0]["why"]
    options = ("--option", "rs_every=1", "--option", "tx_descriptors=80")
    status, report = checked("e1000.driver:probe", "--only", "open-stop,full-ring", *options)
    assert (status, report["findings"]) == (0, [])


def test_an_option_the_driver_refuses_is_told_in_one_line(checked):
    _, report = checked("e1000.driver:probe", "--only", "probe-remove", "--option", "rs_every=99999999999999999999999")
    assert report["scenarios"][0]["why"].endswith(
        "OSError: [Errno 22] rs_every is at least 1 packet, and 4294967295 at most; not 99999999999999999999999"
    )


@pytest.mark.parametrize("name", ["Object", "bare", "Prints"])
def test_an_object_a_function_and_one_that_prints_are_drivers_too(checked, name):
    status, report = checked(broken(name), "--only", "open-stop")
    assert (status, report["findings"]) == (0, [])


def test_a_file_may_be_called_as_a_module_that_is_there_already(checked, tmp_path):
    path = tmp_path / "random.py"
    path.write_text("from e1000.driver import probe\n")
    status, report = checked(f"{path}:probe", "--only", "open-stop")
    assert (status, report["findings"]) == (0, [])


# --- broken drivers ---

freed_ring = pytest.mark.unsanitized  # NeverQuiet has the card read a ring that was given back, which AddressSanitizer ends at once

BREACHES = {
    "LeaksRings": ("open-stop", "bytes of coherent memory|bytes and mappings in use|handler"),
    "LeaksInProbe": ("probe-remove", "64 bytes of coherent memory are still allocated after remove"),
    "KeepsTheDevice": ("probe-remove", "after remove the device is still registered"),
    "WrongAddress": ("probe-remove", "the address is 02:00:00:00:be:ef, and the EEPROM has 52:54:00:00:00:01"),
    "NoUnwinding": ("allocation-failure", "allocation 1 failed in ndo_open: .64, 0. bytes and mappings in use"),
    "TrustsMapping": ("allocation-failure", "in map_pieces OSError"),
    "DropsUncounted": ("allocation-failure", "1 packets sent went nowhere, and 0 are counted"),
    "FailsSilently": ("open-stop", "frames of 64 bytes sent: 2 of 10 arrived"),
    "LosesUncounted": ("stop-in-flight", "20 packets sent went nowhere, and 0 are counted"),
    "KeepsInFlight": ("stop-in-flight", "20 of 21 packets were never freed"),
    "NeverStops": ("full-ring", "queue was not stopped|NETDEV_TX_BUSY"),
    "NeverWakes": ("full-ring", "[0-9]+ arrived; tx-0 is stopped by the driver, [0-9]+ packets wait, the ring is empty .*nobody woke"),
    "NeverCompletes": ("full-ring", "64 bytes are in flight to BQL after all was sent"),
    "IgnoresTheLink": ("link-flap", "the cable is out, and after 5 s there is a carrier"),
    "TimeoutDoesNothing": ("hang", "packets in the ring are not given up"),
    "ForgetsRxMode": ("hang", "frames to others after ndo_tx_timeout's reset: 0 of 3 arrived"),
    "NoTimeout": ("hang", "no ndo_tx_timeout"),
    "ShortBuffers": ("mtu", "1518 bytes, 4 of them a VLAN tag, received: number 0 arrived with 1514 bytes for 1518"),
    "IgnoresRxMode": ("filters", "while promiscuous, 3 frames to 52:54:00:00:00:99 are to be passed up, and 0 were"),
    "AlwaysPromiscuous": ("filters", "3 frames to 52:54:00:00:00:99 are none of this device's, and 3 were"),
    "NeverQuiet": ("open-stop", "did DMA after ndo_stop"),
    "NoBusMaster": ("open-stop", "frames of 64 bytes sent: 0 of 10 arrived"),
    "NoPciEnable": ("probe-remove", "in reset OSError: .Errno 5. the card does not come out of reset"),
    "SendsTheFirstPiece": ("offloads", "packets in pieces: number 0 arrived"),
    "ClaimsOffloads": ("offloads", "TCP packets without a checksum: number 0 arrived with 60 bytes for 55, and differs from byte 50"),
    "ClaimsSegmentation": ("offloads", "TCP packets to be segmented: "),
    "VouchesForAll": ("rx-checksums", "a fragment was passed up as CHECKSUM_UNNECESSARY"),
    "WrongSum": ("rx-checksums", "a UDP packet without a checksum was passed up as CHECKSUM_COMPLETE with 0x1234, and the sum is 0x"),
    "LosesTheTag": ("rx-checksums", "a TCP packet with a VLAN tag: of VLAN 5, and passed up with None"),
    "Raises": ("traffic", "in start_xmit ValueError: the sixth"),
    "Exits": ("open-stop", "in poll SystemExit: a driver that has enough"),
    "NoDevice": ("open-stop", "probe returned None, not a NetDevice"),
}


@pytest.mark.parametrize(
    ("name", "scenario", "why"),
    [pytest.param(name, *rest, id=name, marks=[freed_ring] * (name == "NeverQuiet")) for name, rest in BREACHES.items()],
)
def test_a_broken_driver_fails_where_it_is_broken(checked, name, scenario, why):
    status, report = checked(broken(name), "--only", scenario)
    (result,) = report["scenarios"]
    assert status == 1
    assert not report["clean"]
    assert (result["name"], result["status"]) == (scenario, "failed")
    assert re.search(why, result["why"]), result["why"]
    assert report["findings"]


@pytest.mark.parametrize("scenario", ["open-stop", "traffic"])
@pytest.mark.parametrize(
    ("name", "state", "instead"),
    [
        (
            "AsksForNoReport",
            "arrived; tx-0 is stopped by BQL, [0-9]+ packets wait, the ring is empty .TDH and TDT are 1., and 64 bytes",
            "set RS",
        ),
        ("NeverSchedules", r"arrived; the card's interrupts are masked .*, 0 polls", "call napi_schedule in the interrupt handler"),
        ("NeverUnmasks", r"arrived; the card's interrupts are masked .*, 1 polls", r"unmask .* when napi_complete_done has returned True"),
    ],
)
def test_what_stands_still_is_told_and_not_waited_for(checked, name, state, instead, scenario):
    _, report = checked(broken(name), "--only", scenario)
    assert re.search(state, report["scenarios"][0]["why"])
    assert any(re.match(instead, each["instead"]) for each in report["findings"])
    assert report["scenarios"][0]["seconds"] < 10


def line_of(text):
    return next(number for number, line in enumerate(BROKEN.read_text().splitlines(), 1) if text in line)


@pytest.mark.parametrize(
    ("name", "scenario", "rule", "operation"),
    [
        ("NeverStops", "slow-wire", "rule 1 (busy-while-awake)", "ndo_start_xmit"),
        ("KeepsInFlight", "stop-in-flight", "rule 10 (active-after-stop)", "ndo_stop"),
        pytest.param("NeverQuiet", "open-stop", "rule 10 (active-after-stop)", "ndo_stop", marks=freed_ring),
        ("KeepsMappings", "open-stop", "rule 17 (dma-mapping)", "ndo_stop"),
        ("UnmapsTwice", "open-stop", "rule 17 (dma-mapping)", "dma_unmap_single"),
        ("WakesAlways", "full-ring", "rule 3 (wake-without-room)", "netif_tx_wake_queue"),
        ("CarrierStaysOn", "open-stop", "rule 19 (carrier-and-timeout)", "ndo_stop"),
    ],
)
def test_rules_that_are_broken_are_told_with_topic_line_and_what_to_do(checked, name, scenario, rule, operation):
    status, report = checked(broken(name), "--only", scenario)
    assert status == 1
    finding = next(each for each in report["findings"] if each["rule"] == rule)
    assert finding["operation"] == operation
    assert finding["document"]
    assert finding["topic"]
    assert finding["detail"]
    assert finding["instead"]
    assert re.search(r"(broken_drivers|minimal_e1000)\.py:\d+$", finding["where"])
    assert report["scenarios"][0]["counts"][rule] >= 1
    if name == "NeverStops":  # all arrived: the rule alone is what failed
        assert report["scenarios"][0]["why"] == f"{rule} broken"


@pytest.mark.parametrize(
    ("name", "rule", "begins"),
    [
        ("CompletesWhatIsFull", 15, "def poll"),
        ("NeverCompleted", 15, "def poll"),
        ("NeverFreed", 12, "device = alloc_etherdev"),
        ("TailFirst", 18, "def start_xmit"),
        ("UnmasksEarly", 15, "self.bus.write(regs.IMS, regs.ICR_RXT0)"),
        ("WakesFromAThread", 14, "thread.start()|thread.join()"),
    ],
)
def test_the_place_of_a_broken_rule_is_the_drivers_own(checked, name, rule, begins):
    _, report = checked(broken(name), "--only", "open-stop")
    places = [each["where"] for each in report["findings"] if each["rule"].startswith(f"rule {rule} ")]
    assert places
    for place in places:
        path, _, number = place.rpartition(":")
        assert Path(path).read_text().splitlines()[int(number) - 1].strip().startswith(tuple(begins.split("|"))), place


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("IgnoresTheBudget", "127 packets of work with a budget of 64"),
        ("NeverMasks", "an interrupt came while <NapiStruct: scheduled, .*: they were not masked when it was scheduled"),
    ],
)
def test_more_packets_than_a_poll_takes_show_what_breaks_napis_rules(checked, name, detail):
    status, report = checked(broken(name), "--only", "overload")
    assert (status, report["scenarios"][0]["why"]) == (1, "rule 15 (napi-misused) broken")
    assert re.match(detail, report["findings"][0]["detail"])


@pytest.mark.parametrize(
    ("name", "rule", "section", "access"),
    [
        ("AppendsNoCrc", "strict tx-no-ifcs", "3.3.3", "start_xmit, write of TDT"),
        ("GivesTheWholeRing", "strict ring-full", "13.4.29", "clean_rx, write of RDT"),
        ("SmallBuffers", "strict rx-buffer-outside", "3.2.3", "configure, write of RDT"),
        ("NoBusMaster", "strict doorbell-no-master", "4.1", "configure, write of RDT"),
    ],
)
def test_what_a_driver_does_against_the_manual_is_told_with_section_and_access(checked, name, rule, section, access):
    status, report = checked(broken(name), "--only", "open-stop")
    finding = next(each for each in report["findings"] if each["rule"] == rule)
    assert (status, finding["topic"], finding["operation"]) == (1, f"section {section}", access)
    assert "Software Developer's Manual" in finding["document"]
    assert re.search(r"(broken_drivers|minimal_e1000)\.py:\d+$", finding["where"])
    assert section in finding["instead"]
    assert report["scenarios"][0]["counts"][rule] >= 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("OpenReturnsAnError", "TypeError: eth0: ndo_open returned -12; it returns None or an XmitTarget, and raises OSError if it fails"),
        ("OpenReturnsItself", "TypeError: eth0: ndo_open returned <"),
        ("XmitReturnsNothing", "TypeError: eth0: ndo_start_xmit returned None; it returns NETDEV_TX_OK, or, with the packet as it was,"),
        ("XmitReturnsANumber", "OSError: [Errno 22] eth0: ndo_start_xmit returned 99; it returns NETDEV_TX_OK, or"),
        ("XmitIsAsync", "TypeError: eth0: ndo_start_xmit returned <coroutine object"),
        ("HasNoOpen", "OSError: [Errno 95] eth0: the driver has no open"),
        ("HasNoStop", "OSError: [Errno 95] eth0: the driver has no stop"),
        ("HasNoXmit", "OSError: [Errno 95] eth0: the driver has no start_xmit, and ndo_open returned no XmitTarget"),
        ("PollReturnsNothing", "TypeError: eth0: poll returned None; it returns how many packets it received, 0 to 64"),
    ],
)
def test_an_operation_that_lacks_or_returns_rubbish_by_mistake_is_all_that_is_found(checked, name, says):
    _, report = checked(broken(name), "--only", "open-stop")
    (finding,) = report["findings"]
    assert finding["detail"].startswith(f"it raised {says}")


def test_what_a_driver_raises_is_told_with_its_line(fastring):
    outcome = fastring("check", broken("Raises"), "--only", "traffic", *FEW)
    assert outcome.status == 1
    assert f"broken_drivers.py:{line_of('raise ValueError')} in start_xmit" in outcome.out
    assert "\x1b" not in outcome.out


# --- drivers that take themselves down ---


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("EndsTheProcess", "the driver ended the process with status 7"),
        ("Crashes", "the driver crashed with signal 6"),
        ("Hangs", "the driver did not come to an end in 3 s"),
        ("PollsForEver", "the driver did not come to an end in 3 s"),
    ],
)
def test_a_driver_that_ends_or_hangs_takes_down_its_scenario_alone(checked, name, how):
    began = time.monotonic()
    status, report = checked(broken(name), "--only", "probe-remove,open-stop", "--timeout", "3")
    assert status == 1
    first, second = report["scenarios"]
    assert first["status"] == "ok"
    assert second["status"] == "failed"
    assert second["why"].startswith(how)
    assert time.monotonic() - began < 30
    if name in ("Crashes", "Hangs"):
        assert "broken_drivers.py:" in report["findings"][0]["where"]


def test_after_two_scenarios_without_an_end_the_others_are_not_run(checked):
    status, report = checked(broken("Hangs"), "--only", "probe-remove,open-stop,full-ring,mtu,filters", "--timeout", "0.5")
    assert status == 1
    assert [each["status"] for each in report["scenarios"]] == ["ok", "failed", "failed", "not run", "not run"]
    assert report["scenarios"][3]["why"] == "open-stop and full-ring did not come to an end"


def test_many_packets_are_no_reason_to_wait_longer_for_one(checked):
    began = time.monotonic()
    _, report = checked(broken("HangsLate"), "--only", "traffic", "--timeout", "2", "--packets", "1000000")
    assert report["scenarios"][0]["why"].startswith("the driver did not come to an end in 2 s (at ")
    assert time.monotonic() - began < 20


def ended(stat, seconds):
    """Whether a process, of this /proc/PID/stat, is gone in so many seconds, or but waits for who reaps it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "ZX":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("exits", [False, True], ids=["lives", "exits"])
def test_what_a_driver_forks_ends_with_its_scenario(checked, tmp_path, monkeypatch, exits):
    monkeypatch.setenv("FORKED", str(tmp_path / "pid"))
    if exits:
        monkeypatch.setenv("FORKED_EXIT", "1")
    began = time.monotonic()
    _, report = checked(broken("Forks"), "--only", "open-stop")
    assert report["scenarios"][0]["status"] == ("failed" if exits else "ok")
    assert time.monotonic() - began < 15
    assert ended(Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat"), 10)


def test_ctrl_c_ends_a_run_and_prints_what_is_known():
    with subprocess.Popen(
        [sys.executable, "-m", "softnet.cli", "check", broken("Hangs"), "--only", "probe-remove,open-stop"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as run:  # fmt: skip
        assert run.stderr.readline() == "hangs\n"
        os.killpg(run.pid, signal.SIGINT)
        out, err = run.communicate(timeout=30)
    assert (run.returncode, err) == (130, "")
    assert "ok       probe-remove" in out
    assert "not run  open-stop     interrupted" in out
    assert out.endswith(":Hangs: interrupted: 1 scenario, nothing found\n")


def test_ctrl_c_before_anything_was_run_says_so(fastring, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    status, out, err = fastring("check", "e1000.driver:probe", "--only", "probe-remove,open-stop")
    assert (status, err) == (130, "")
    assert out.endswith("e1000.driver:probe: interrupted before the first scenario came to its end\n")
    status, out, _ = fastring("check", "e1000.driver:probe", "--only", "open-stop", "--json")
    assert (status, json.loads(out)["clean"]) == (130, False)


# --- what cannot be run ---


@pytest.fixture
def module(tmp_path):
    def make(text):
        path = tmp_path / "bad_driver.py"
        path.write_text(text)
        return f"{path}:Driver"

    return make


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("no_such_module_at_all:Driver", "there is no module 'no_such_module_at_all'"),
        ("e1000.no_such:Driver", "there is no module 'e1000.no_such'"),
        ("/no/such/file.py:Driver", "there is no file '/no/such/file.py'"),
        ("e1000.driver:no_such", "e1000.driver:no_such: e1000.driver has no 'no_such'"),
        ("e1000.driver", "'e1000.driver' names no driver: it is MODULE:DRIVER, such as e1000.driver:probe"),
        ("e1000.driver:", "'e1000.driver:' names no driver: it is MODULE:DRIVER, such as e1000.driver:probe"),
        (broken("number"), f"{broken('number')} is no driver: it is neither callable as probe(bus, stack) nor has a probe"),
    ],
)
def test_a_driver_that_is_not_there_is_one_line_and_status_2(fastring, spec, says):
    assert fastring("check", spec) == (2, "", f"fastring check: {says}\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import nowhere_to_be_found", "importing 'bad_driver' raises ModuleNotFoundError: No module named 'nowhere_to_be_found' ("),
        ("1 / 0", "importing 'bad_driver' raises ZeroDivisionError: division by zero ("),
        ("def Driver(:", "importing 'bad_driver' raises SyntaxError: "),
        ("import sys; sys.exit(3)", "importing 'bad_driver' raises SystemExit: 3 ("),
        ("import os; os._exit(3)", "ended the process with status 3"),
        ("while True: pass", "did not come to an end in 1 s"),
        ("class Driver:\n  def __init__(self): 1 / 0\n  def probe(self, bus, stack): pass", "making one of it raises ZeroDivisionError"),
    ],
)
def test_a_driver_that_cannot_be_imported_is_one_line_and_status_2(fastring, module, text, says):
    status, out, err = fastring("check", module(text), "--timeout", "1" if "while" in text else "30")
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
    assert "bad_driver" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "which driver? MODULE:DRIVER is missing; see `fastring check --help`"),
        (["e1000.driver:probe", "--only", "nothing"], "there is no scenario 'nothing': they are probe-remove, open-stop, "),
        (["e1000.driver:probe", "--only", ""], "argument --only: '' names no scenario"),
        (["e1000.driver:probe", "--only", ", "], "argument --only: ', ' names no scenario"),
        (["e1000.driver:probe", "--timeout", "0"], "no number of seconds above 0"),
        (["e1000.driver:probe", "--timeout", "nan"], "no number of seconds above 0"),
        (["e1000.driver:probe", "--option", "rs_every"], "'rs_every' is not NAME=VALUE"),
        (["e1000.driver:probe", "--option", "rs=1"], "e1000.driver:probe has no option 'rs': they are name, mtu, bql, tx_descriptors, "),
        ([broken("Object"), "--option", "rs=1"], "has no option 'rs': it takes none"),
        (["e1000.driver:probe", "--packets", "-1"], "is not a whole number of 0 or more"),
        (["e1000.driver:probe", "--junit", "/no/such/folder/x.xml", "--only", "probe-remove"], "/no/such/folder/x.xml: No such file"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(fastring, arguments, says):
    status, out, err = fastring("check", *arguments)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_module_in_the_working_directory_is_found(fastring, tmp_path, monkeypatch):
    (tmp_path / "some_driver.py").write_text("from e1000 import driver\n")
    monkeypatch.chdir(tmp_path)
    assert fastring("check", "some_driver:driver.probe", "--only", "probe-remove").status == 0


# --- reports ---


def test_a_terminal_is_told_what_a_run_is_at(fastring, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    outcome = fastring("check", "e1000.driver:probe", "--only", "probe-remove,open-stop")
    assert outcome.err.replace("\r\x1b[K", "|") == "|0 of 2 done, now probe-remove|1 of 2 done, now open-stop|"


def test_junit_has_a_case_for_each_scenario_with_its_failure(fastring, tmp_path):
    path = tmp_path / "check.xml"
    outcome = fastring("check", broken("Raises"), "--only", "probe-remove,traffic", "--junit", path, *FEW)
    assert outcome.status == 1
    suite = ET.parse(path).getroot()
    assert (suite.tag, suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("testsuite", "2", "1", "0")
    good, bad = suite.findall("testcase")
    assert (good.get("name"), good.find("failure")) == ("probe-remove", None)
    assert bad.get("name") == "traffic"
    assert "the sixth" in bad.find("failure").get("message")
    assert "broken_drivers.py" in bad.find("failure").text
    assert all(float(case.get("time")) >= 0 for case in (good, bad))


def test_a_report_that_cannot_be_written_is_still_printed(fastring):
    status, out, err = fastring("check", "e1000.driver:probe", "--only", "probe-remove", "--junit", "/dev/full")
    assert out.endswith("e1000.driver:probe: 1 scenario, nothing found\n")
    assert (status, err) == (2, "fastring check: /dev/full: No space left on device\n")


def test_what_differs_in_figures_alone_is_one_finding():
    def result(name, *details):
        return Result(name, "failed", "", found=[Found("", "", name, "poll", "x.py:3", detail, "") for detail in details])

    results = [
        result("mtu", "freed twice: 1514 bytes at 0x7f2a", "freed twice: 64 bytes at 0x7f2b"),
        result("hang", "freed twice: 64 bytes at 0x12"),
        result("traffic", "lost: 64 bytes at 0x12"),
    ]
    assert [(found.detail, names) for found, names in report.collected(results)] == [
        ("freed twice: 1514 bytes at 0x7f2a", ["mtu", "hang"]),
        ("lost: 64 bytes at 0x12", ["traffic"]),
    ]


def test_json_tells_of_each_finding_what_where_and_what_to_do(checked):
    _, report = checked(broken("NoTimeout"), "--only", "hang")
    (finding,) = [each for each in report["findings"] if not each["rule"]]
    assert set(finding) == {"rule", "document", "topic", "operation", "where", "detail", "instead", "scenarios"}
    assert finding["scenarios"] == ["hang"]
    assert finding["instead"].startswith("give it one, which schedules a reset")
    assert set(report["scenarios"][0]) == {"name", "status", "why", "seconds", "counts"}


def test_the_text_report_says_what_is_wrong_and_what_to_do(fastring):
    status, out, err = fastring("check", broken("IgnoresTheLink"), "--only", "probe-remove,link-flap")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0] == "ok       probe-remove  5 times, nothing left behind"
    assert lines[1] == "failed   link-flap     the cable is out, and after 5 s there is a carrier"
    assert "   what  the cable is out, and after 5 s there is a carrier" in lines
    assert "   do    call netif_carrier_off at the LSC interrupt" in lines
    assert "1. behaviour, in link-flap" in lines
    assert lines[-1].endswith(":IgnoresTheLink: 1 of 2 scenarios failed")


@freed_ring
def test_the_text_report_names_a_rules_document_and_topic(fastring):
    out = fastring("check", broken("NeverQuiet"), "--only", "open-stop").out
    assert "1. rule 10 (active-after-stop), in open-stop\n   at    " in out
    assert "   see   Softnet Driver Issues (networking/driver): Close/stop guidelines\n" in out


def test_list_and_help_name_every_scenario_and_option(fastring):
    status, out, err = fastring("check", "--list")
    assert (status, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == list(SCENARIOS)
    assert all(len(line) > 25 for line in out.splitlines())
    status, out, err = fastring("check", "--help")
    assert (status, err) == (0, "")
    for option in ("--list", "--only LIST", "--packets N", "--timeout SECONDS", "--option NAME=VALUE", "--json", "--junit FILE"):
        assert option in out
    assert "MODULE:DRIVER" in out
    assert "exit status" in out
    assert max(map(len, out.splitlines())) <= 120
