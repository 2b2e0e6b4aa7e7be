"""Stream and Generate: what texts mean, packets through cards, and what is told of them."""

import json
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Dot1Q, Ether

from fastring.burst import Burst
from fastring.headers import frame_headers
from fastring.histogram import Histogram
from fastring.wire import Wire
from softnet import cli, generate
from softnet.generate import Generate, Phase, Stream, StreamError
from softnet.generate_result import generate_text
from softnet.stream_fields import find_place, parse_field, parse_rate, parse_sizes, parse_value
from softnet.stream_file import read_stream_file, udp_frame
from softnet.wire.cabling import Cabling

FRAME = udp_frame("10.0.0.1:1024", "10.0.1.1:53")
V6 = udp_frame("[fd00::1]:1024", "[fd00::2]:53", vlan=5)


def values(text, name="ipv4.ttl", frame=FRAME, count=8, **options):
    """What a field is in the first packets."""
    place = find_place(name, frame_headers(frame))
    packets = Stream(frame, {name: text}, signature=False, **options).build().make(count)
    return [int.from_bytes(packet, "big") >> 8 * len(packet) - place.bit - place.bits & (1 << place.bits) - 1 for packet in packets]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1..3", [1, 2, 3, 1, 2, 3, 1, 2]),
        ("3..1", [3, 2, 1, 3, 2, 1, 3, 2]),
        ("0..6/3", [0, 3, 6, 2, 5, 1, 4, 0]),
        ("6..0/3", [6, 3, 0, 4, 1, 5, 2, 6]),
        ("7", [7] * 8),
        (9, [9] * 8),
        ([1, 5], [1, 5] * 4),
        ("1, 0x10,3*2", [1, 1, 16, 16, 3, 3, 1, 1]),
        ("1..2*3", [1, 1, 1, 2, 2, 2, 1, 1]),
        ("random:5..5", [5] * 8),
    ],
)
def test_a_text_is_the_values_it_says(text, expected):
    assert values(text) == expected


@pytest.mark.parametrize(
    ("name", "frame", "text", "expected"),
    [
        ("eth.src", FRAME, "52:54:00:00:00:fe..52:54:00:00:01:01", [0x5254000000FE, 0x5254000000FF, 0x525400000100, 0x525400000101]),
        ("ipv4.src", FRAME, "10.0.0.255..10.0.1.2", [0x0A0000FF, 0x0A000100, 0x0A000101, 0x0A000102]),
        ("ipv4.dscp", FRAME, "46,0", [46, 0, 46, 0]),
        ("udp.dport", FRAME, "53,80", [53, 80, 53, 80]),
        ("vlan.id", V6, "1..4095/2", [1, 3, 5, 7]),
        ("vlan.prio", V6, "7..4", [7, 6, 5, 4]),
        ("ipv6.flow", V6, "0xfffff..0xffffe", [0xFFFFF, 0xFFFFE, 0xFFFFF, 0xFFFFE]),
        (
            "ipv6.src",
            V6,
            "fd00::ffff..fd00::1:1",
            [0xFD00 << 112 | 0xFFFF, 0xFD00 << 112 | 0x10000, 0xFD00 << 112 | 0x10001, 0xFD00 << 112 | 0xFFFF],
        ),
        ("ipv6.dst", V6, "fd00::1,fe80::2", [0xFD00 << 112 | 1, 0xFE80 << 112 | 2] * 2),
        ("@18.4:4", FRAME, "1..15", [1, 2, 3, 4]),
    ],
)
def test_a_name_is_the_bits_it_says(name, frame, text, expected):
    assert values(text, name, frame, 4) == expected


def test_values_drawn_follow_from_the_seed_alone():
    drawn = [values("random:1..200", seed=seed, count=50) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert min(map(min, drawn)) >= 1
    assert max(map(max, drawn)) <= 200


@given(st.text(max_size=30), st.sampled_from(["ipv4.src", "eth.dst", "ipv4.ttl", "@20:5", "nonsense"]))
def test_a_text_is_values_or_a_value_error_in_one_line(text, name):
    try:
        parse_field(name, text, frame_headers(FRAME))
    except ValueError as error:
        complaint = str(error)
    else:
        complaint = ""
    assert "\n" not in complaint


@given(st.one_of(st.text(max_size=20), st.integers(), st.floats(), st.none(), st.lists(st.integers(), max_size=3)))
def test_sizes_and_rates_are_what_they_say_or_a_value_error(value):
    for parse in (parse_sizes, parse_rate):
        try:
            parse(value)
        except ValueError as error:
            complaint = str(error)
        else:
            complaint = ""
        assert "\n" not in complaint


def test_imix_is_seven_to_four_to_one_and_mixed():
    lengths, order = parse_sizes("imix")
    assert [(lengths[i], order.count(i)) for i in range(3)] == [(60, 7), (590, 4), (1514, 1)]
    assert order[:6].count(0) in (3, 4)


def test_rates():
    assert parse_rate("1.5kpps").value == 1500
    assert parse_rate(7) == (Fraction(7), False)
    assert parse_rate("10mbps") == (Fraction(10**7), True)
    assert parse_rate("10mbps").times == (0, Fraction(8 * 10**9, 10**7))


@pytest.mark.parametrize(
    ("stream", "mistake"),
    [
        (Stream(b"x"), "stream 0: template: a frame has 14 to"),
        (Stream(FRAME, {"ipv6.src": "::1"}, name="a"), "stream 'a': field ipv6.src: its packet has no field"),
        (Stream(FRAME, {"ipv4.src": "10.0.0"}), "is not an IPv4 address"),
        (Stream(FRAME, {"ipv4.ttl": "1..256"}), "256 does not fit into 8 bits"),
        (Stream(FRAME, {"ipv4.ttl": "1..5/0"}), "a step is above 0"),
        (Stream(FRAME, {"ipv4.ttl": "1*0"}), "for 1 to 2"),
        (Stream(FRAME, {"@22:16": 5}), "lies? over the IPv4 protocol|cannot lie over the IPv4"),
        (Stream(V6, {"ipv6.src": "fd00::1..fd01::1"}), "the first 64 bits"),
        (Stream(FRAME, {"ipv4.ttl": []}), "a list has 1 to"),
        (Stream(FRAME, {"ipv4.ttl": None}), "is not a number"),
        (Stream(FRAME, size=20), "a frame has 64 to 16384 bytes with its CRC, not 20"),
        (Stream(V6, size=64), "no room for this packet's headers and its signature: 88 at least"),
        (Stream(FRAME, size="64*0"), "weights are 1 or more"),
        (Stream(FRAME, size="128..64"), "from the smaller to the larger"),
        (Stream(FRAME, payload="zeroes"), "payload: it is 'counter'"),
        (Stream(FRAME, payload=5), "payload: it is 'counter'"),
        (Stream(FRAME, count=-1), "count: it is a whole number"),
        (Stream(FRAME, rate="fast"), "rate: 'fast' is no rate"),
        (Stream(FRAME, rate=5, burst=0), "burst: it is a whole number"),
        (Stream(FRAME, gap=0), "gap: it is a number of seconds"),
        (Stream(FRAME, phases=[Phase(duration=5)]), "phases: there is one with a rate"),
        (Stream(FRAME, phases=[Phase(rate=5)]), "phase 1: it lasts for a duration or for packets"),
    ],
)
def test_a_mistake_is_one_line_that_says_where(stream, mistake):
    with pytest.raises(StreamError, match=mistake) as caught:
        Generate([stream])
    assert all("\n" not in line for line in caught.value.mistakes)


def test_all_mistakes_are_told():
    with pytest.raises(StreamError) as caught:
        Generate([Stream(FRAME, {"nonsense": 1}, size=1), Stream(FRAME, count="x")])
    assert [line.split(":")[0] for line in caught.value.mistakes] == ["stream 0", "stream 0", "stream 1"]


def test_some_with_a_rate_and_some_without_make_no_schedule():
    with pytest.raises(StreamError, match="stream 1: rate: it has none, and other streams do"):
        Generate([Stream(FRAME, rate=5), Stream(FRAME)])


def test_a_run_on_a_virtual_clock_is_the_same_each_time():
    def once():
        streams = [
            Stream(FRAME, {"udp.sport": "random:1..65535"}, size="imix", rate="100kpps", count=500),
            Stream(V6, rate="3mbps", count=200),
        ]
        result = Generate(streams, clock="virtual", seed=5).run()
        assert (result.sent, result.lost, result.copied) == (700, 0, 0)
        return json.dumps(result.as_dict()), generate_text(result)

    assert once() == once()


def test_a_total_rate_is_shared_by_weight():
    result = Generate([Stream(FRAME, weight=1), Stream(FRAME, weight=3)], rate="100kpps", duration=0.02, clock="virtual").run()
    assert [stream.sent for stream in result.streams] == [500, 1500]


@pytest.fixture
def bad_wire(monkeypatch):
    """A wire on which every tenth packet is lost and every seventh comes twice."""

    class Bad(Wire):
        def __init__(self, other):
            self.other, self.number = other, 0

        def transmit_burst(self, burst):
            for packet in burst:
                self.number += 1
                times = 0 if self.number % 10 == 0 else 2 if self.number % 7 == 0 else 1
                self.other.inject(Burst.from_packets([packet] * times)) if times else None

    def cable(spec, *, clock, sends):
        far = Wire()
        return Cabling(Bad(far), far)

    monkeypatch.setattr(generate, "open_wire", cable)


def test_what_a_wire_loses_and_doubles_is_told(bad_wire):
    run = Generate([Stream(FRAME, count=700, name="a")], clock="virtual")
    result = run.run()
    (stream,) = result.streams
    assert (stream.sent, stream.received, stream.lost, stream.duplicates) == (700, 630, 70, 90)
    assert (result.lost, result.received) == (70, 720)
    assert "70" in generate_text(result)


def test_loss_without_signatures_is_known_in_total(bad_wire):
    result = Generate([Stream(FRAME, count=9, signature=False)], clock="virtual").run()
    assert (result.sent, result.received, result.lost) == (9, 10, 0)
    assert result.streams[0].received is None


def test_a_command_that_loses_packets_exits_with_1(bad_wire, capsys):
    assert cli.main(["generate", "--udp", "10.0.0.1:1,10.0.0.2:2", "--count", "20", "--clock", "virtual"]) == 1
    assert "lost       2 packets" in capsys.readouterr().out


def test_packets_that_come_back_to_the_card(capsys):
    assert cli.main(["generate", "--udp", "1.0.0.1:1,1.0.0.2:2", "--count", "300", "--wire", "loopback", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sent"], told["received"], told["lost"], told["streams"][0]["received"]) == (300, 300, 0, 300)


def test_a_capture_takes_what_is_generated(tmp_path):
    out = tmp_path / "out.pcap"
    assert cli.main(["generate", "--udp", "1.0.0.1:1,1.0.0.2:2", "--count", "30", "--wire", f"pcap:{out}", "--no-signature"]) == 0
    assert cli.main(["generate", "--template", str(out), "--count", "3"]) == 0


def test_latencies_are_written_for_plotters(tmp_path):
    out = tmp_path / "latency.txt"
    assert cli.main(["generate", "--udp", "1.0.0.1:1,1.0.0.2:2", "--count", "30", "--histogram", str(out)]) == 0
    assert "Total count    =           30" in out.read_text()


DESCRIPTION = {
    "duration": 0.01,
    "stream": [{"name": "x", "template": {"udp": "1.0.0.1:1,1.0.0.2:2"}, "rate": 1000, "fields": {"ipv4.ttl": "1..9"}}],
}


def test_json_and_yaml_say_the_same_as_toml(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(DESCRIPTION))
    (tmp_path / "a.toml").write_text(
        'duration = 0.01\n[[stream]]\nname = "x"\ntemplate = {udp = "1.0.0.1:1,1.0.0.2:2"}\nrate = 1000\nfields = {"ipv4.ttl" = "1..9"}\n'
    )
    files = [tmp_path / "a.json", tmp_path / "a.toml"]
    pytest.importorskip("yaml", reason="PyYAML is not installed")
    (tmp_path / "a.yaml").write_text(json.dumps(DESCRIPTION))  # which is YAML
    read = [read_stream_file(file) for file in [*files, tmp_path / "a.yaml"]]
    assert read[0] == read[1] == read[2]
    assert Generate(read[0].streams, clock="virtual", **read[0].settings).run().sent == 10


@pytest.mark.parametrize(
    ("name", "text", "complaints"),
    [
        ("a.toml", "stream = 5", ["stream: it is a list"]),
        ("a.toml", "= 5", ["a.toml: Invalid"]),
        ("a.json", "[" * 100000, ["a.json: "]),
        ("a.json", "[1]", ["it is a table with a list `stream`"]),
        ("a.json", "\xff", ["a.json: "]),
        (
            "a.json",
            '{"seeds": 1, "seed": "x", "stream": [5, {}]}',
            ["there is no 'seeds'", "seed: it is a number", "stream 0: it is a table", "stream 1: template: it has none"],
        ),
        (
            "a.json",
            '{"stream": [{"template": {"udp": "1:2", "hex": ""}, "nope": 1, "fields": 5, "signature": 1, "phases": 3}]}',
            [
                "template: it is a table with one of",
                "there is no 'nope'",
                "fields: it is a table",
                "signature: it is true",
                "phases: it is a list",
            ],
        ),
        (
            "a.json",
            '{"stream": [{"template": {"pcap": "none.pcap"}}, {"template": {"hex": "zz"}}, {"template": {"udp": "a,b"}}]}',
            ["No such file", "non-hexadecimal", "is not ADDRESS:PORT"],
        ),
        ("a.txt", "", ["ends in .toml, .json"]),
    ],
)
def test_a_file_that_is_none_is_one_line_for_each_mistake(tmp_path, capsys, name, text, complaints):
    (tmp_path / name).write_text(text, encoding="latin-1")
    assert cli.main(["generate", str(tmp_path / name)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(complaints)
    assert all(complaint in line for complaint, line in zip(complaints, lines, strict=True))


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--udp", "1.0.0.1:1"],
        ["--udp", "1.0.0.1:1,fd00::1:1"],
        ["--udp", "1.0.0.1:1,1.0.0.2:99999"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--vary", "ipv4.ttl"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--vary", "ipv4.ttl=1", "--vary", "ipv4.ttl=2"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--pps", "-1"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--duration", "nan"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--clock", "virtual"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--wire", "nothing"],
        ["--udp", "1.0.0.1:1,1.0.0.2:2", "--template", "x.pcap"],
        ["--template", "/nonexistent.pcap"],
    ],
)
def test_bad_usage_is_one_line(options, capsys):
    assert cli.main(["generate", *options]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_histogram_is_none_of_the_json():
    result = Generate([Stream(FRAME, count=5)]).run()
    assert isinstance(result.streams[0].histogram, Histogram)
    assert "histogram" not in json.dumps(result.as_dict())


def test_values_in_other_notations():
    assert parse_value("0x1F", "number") == 31
    with pytest.raises(ValueError, match="MAC address"):
        parse_value("52:54:00", "mac")


def test_ctrl_c_ends_a_run_with_the_result_so_far():
    """What was made and not sent is not counted as lost."""
    run = Generate([Stream(FRAME, rate=1000), Stream(FRAME, rate=500)])

    def interrupt(sent):
        if sent >= 10:
            raise KeyboardInterrupt

    result = run.run(interrupt)
    assert (result.interrupted, result.lost, result.problems) == (True, 0, ["interrupted"])
    assert result.sent == sum(stream.sent for stream in result.streams) == result.received >= 10


def test_a_run_that_is_not_started_can_be_closed(tmp_path):
    run = Generate([Stream(FRAME, count=1)], wire=f"pcap:{tmp_path / 'out.pcap'}")
    run.close()
    run.close()


def test_a_wrapped_loopback_is_one():
    assert Generate([Stream(FRAME, count=50)], wire="meter@loopback").run().streams[0].received == 50


def test_a_virtual_clock_ends_at_the_process():
    with pytest.raises(ValueError, match="the real clock"):
        Generate([Stream(FRAME, count=5)], wire="udp:127.0.0.1:9", clock="virtual")


def test_a_packet_of_scapys_is_a_template_and_its_names_are_known():
    packet = Ether() / Dot1Q(vlan=5) / IP(src="10.0.0.1", dst="10.0.1.1") / UDP(sport=1, dport=2)
    fields = {"Dot1Q.vlan": "5..6", "IP.src": "10.0.0.1,10.0.0.9", "UDP.sport": "7..9", "ipv4.ttl": "64"}
    made = list(Stream.from_scapy(packet, fields, size=100, signature=False).build().make(4))
    told = [(p[Dot1Q].vlan, p[IP].src, p[UDP].sport) for p in map(Ether, made)]
    assert told == [(5, "10.0.0.1", 7), (6, "10.0.0.9", 8), (5, "10.0.0.1", 9), (6, "10.0.0.9", 7)]
    with pytest.raises(StreamError, match="colour"):
        Stream.from_scapy(packet, {"IP.colour": "1"}).build()
