"""`fastring generate`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from softnet.cli_parser import BAD, Help, Parser, count
from softnet.commands.common import INTERRUPTED, LOST, OK, beside, complain, is_stdout, udp_template
from softnet.commands.observing import add_observation_options, observation_of, screen_of
from softnet.wire import wires_help

PROG = "fastring generate"


def parser() -> Parser:
    """The command line."""
    generate = Parser(
        prog=PROG,
        usage="fastring generate [FILE] [options]",
        description="Send generated packets through a card, and tell what became of each stream.\n"
        "FILE describes streams, in TOML, JSON or YAML: docs/generate.md. Without it, the options describe one.",
        epilog="fields take A..B, A..B/STEP, random:A..B or a list A,B,C; *N behind it keeps each value for N packets.\n"
        "Names: eth.src, vlan.id, ipv4.src, ipv6.dst, ipv4.ttl, udp.sport and so on, or @BYTE:BITS.\n\n"
        f"wires:\n{wires_help()}\n\n"
        "exit status:\n"
        "  0    every packet arrived, or nobody was there to receive\n"
        "  1    packets were lost\n"
        "  2    bad usage or bad input\n"
        "  130  interrupted (Ctrl-C); the result so far is printed",
        formatter_class=Help,
    )
    generate.add_argument("file", nargs="?", metavar="FILE", help="description of streams: .toml, .json, .yaml")
    generate.add_argument("--udp", metavar="SRC,DST", help="packets of UDP from ADDRESS:PORT to ADDRESS:PORT; [ADDRESS]:PORT for IPv6")
    generate.add_argument("--template", metavar="CAPTURE", help="packets like the first one of a capture")
    generate.add_argument(
        "--vary", action="append", default=[], metavar="FIELD=VALUES", help="let a field vary: --vary ipv4.src=10.0.0.1..10.0.0.254"
    )
    generate.add_argument("--size", metavar="SIZE", help="with CRC: 64, 64..1518, random:64..1518, 64*7,594*4,1518*1 or imix")
    generate.add_argument("--payload", metavar="KIND", help="counter, random or hex:DIGITS")
    rate = generate.add_mutually_exclusive_group()
    rate.add_argument("--pps", metavar="N", help="packets a second, all streams together")
    rate.add_argument("--mbps", metavar="N", help="Mbit a second of frames without CRC, all streams together")
    rate.add_argument("--topspeed", action="store_true", help="as fast as the ring takes them, whatever FILE says")
    generate.add_argument("--count", type=count, metavar="N", help="packets of each stream")
    generate.add_argument("--duration", type=float, metavar="SECONDS", help="send so long")
    generate.add_argument("--seed", type=count, metavar="N", help="what is drawn follows from it (default: 0)")
    generate.add_argument("--wire", metavar="SPEC", help="what the card is plugged into, see below (default: pair)")
    generate.add_argument("--receive", metavar="SPEC", help="receive from this wire, not at the other end; 'same': by the card that sends")
    generate.add_argument("--clock", choices=("real", "virtual"), help="virtual: packets at exactly their time, the same each time")
    generate.add_argument("--no-signature", action="store_true", help="no sequence numbers and stamps in the payload")
    generate.add_argument("--histogram", metavar="FILE", help="write all latencies to FILE, in µs, as HdrHistogram's plotters read it")
    generate.add_argument("--json", action="store_true", help="print the result as one JSON object")
    add_observation_options(generate)
    return generate


def run(arguments: argparse.Namespace) -> tuple[int, str]:
    """Do it; returns the exit status and what to print."""
    from softnet.generate import Generate, StreamError
    from softnet.generate_result import generate_text

    with observation_of(arguments) as observation:
        try:
            streams, settings = _streams(arguments)
            run_of_it = Generate(streams, observation=observation, **settings)
        except StreamError as error:
            for mistake in error.mistakes:
                complain(PROG, mistake)
            return BAD, ""
        counts = [stream.count for stream in streams]
        total = sum(number or 0 for number in counts) if None not in counts else None
        screen = observation.screen = screen_of(arguments, "generating", "packets", total)
        result = run_of_it.run(None if screen is None else screen.progress)
        if (problem := observation.problem()) is not None:
            result.problems.append(problem)
        observation.report(PROG, result.as_dict(), run_of_it.histograms())
    for problem in result.problems:
        complain(PROG, problem)
    if arguments.histogram is not None:
        with open(arguments.histogram, "w", encoding="ascii") as file:
            file.write(run_of_it.latencies().percentiles_text(scale=1000))
    text = json.dumps(result.as_dict()) if arguments.json else generate_text(result)
    text = beside(text, is_stdout(settings.get("wire", "").partition(":")[2]))
    if result.interrupted:
        return INTERRUPTED, text
    return LOST if result.problems or (result.lost and run_of_it.counts_losses) else OK, text


def _streams(arguments: argparse.Namespace) -> tuple[list[Any], dict[str, Any]]:
    """The streams of the file or of the options, and settings for Generate."""
    from softnet.generate import Stream, StreamError
    from softnet.stream_file import pcap_frame, read_stream_file

    ways = [arguments.file, arguments.udp, arguments.template]
    if sum(way is not None for way in ways) != 1:
        raise ValueError("packets come from one of FILE, --udp and --template")
    settings: dict[str, Any] = {}
    if arguments.file is not None:
        described = read_stream_file(arguments.file)
        streams, settings = described.streams, described.settings
        if arguments.vary or arguments.size is not None or arguments.payload is not None:
            raise ValueError("--vary, --size and --payload are for --udp and --template: FILE says what its packets are")
    else:
        fields = {}
        for word in arguments.vary:
            name, equals, values = word.partition("=")
            if not equals or name in fields:
                raise StreamError([f"--vary {word}: it is FIELD=VALUES" if not equals else f"--vary {word}: {name} varies already"])
            fields[name] = values
        frame = pcap_frame(arguments.template) if arguments.template is not None else udp_template(arguments.udp)
        streams = [Stream(frame, fields, size=arguments.size, payload=arguments.payload)]
    for stream in streams:
        stream.count = stream.count if arguments.count is None else arguments.count
        stream.signature = stream.signature and not arguments.no_signature
    rate = arguments.pps if arguments.mbps is None else f"{arguments.mbps}mbps"
    receive = "" if arguments.receive == "same" else arguments.receive
    given = {"wire": arguments.wire, "receive_wire": receive, "clock": arguments.clock, "duration": arguments.duration}
    given |= {"rate": rate, "seed": arguments.seed, "topspeed": arguments.topspeed or None}
    return streams, settings | {key: value for key, value in given.items() if value is not None}
