"""What a conformance run found, as text, JSON and JUnit's XML."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Any

from fastring.capture_error import printable
from softnet.conformance.runner import Found, Result

FIGURES = re.compile(r"0x[0-9a-f]+|\d+")  # of lengths, counts, addresses: one mistake shows many


def is_clean(results: Sequence[Result]) -> bool:
    """Whether all was run, and nothing failed."""
    return all(result.status == "ok" for result in results)


def collected(results: Sequence[Result]) -> list[tuple[Found, list[str]]]:
    """The findings of all scenarios, those that differ but in figures together, with the scenarios that found each."""
    together: dict[tuple[str, ...], tuple[Found, list[str]]] = {}
    for result in results:
        for found in result.found:
            key = (found.rule, found.where, found.operation, "" if found.rule else FIGURES.sub("#", found.detail))
            names = together.setdefault(key, (found, []))[1]
            if result.name not in names:
                names.append(result.name)
    return sorted(together.values(), key=lambda item: (not item[0].rule, item[0].rule, item[0].where))


def as_text(spec: str, results: Sequence[Result]) -> str:
    """A line for each scenario, and then what is wrong and what to do."""
    width = max((len(result.name) for result in results), default=0)
    lines = [f"{result.status:<8} {result.name:<{width}}  {result.why}" for result in results]
    findings = collected(results)
    if findings:
        lines.append("")
    for number, (found, names) in enumerate(findings, 1):
        lines.append(f"{number}. {found.rule or 'behaviour'}, in {', '.join(names)}")
        at = " in ".join(part for part in (found.where, found.operation) if part)
        told = {"at": at, "what": found.detail, "do": found.instead, "see": _source(found)}
        lines += [f"   {label:<6}{text}" for label, text in told.items() if text]
    lines += ["", f"{spec}: {_verdict(results)}"]
    return "\n".join(map(printable, lines))


def _verdict(results: Sequence[Result]) -> str:
    failed = len([result for result in results if result.status == "failed"])
    ran = len([result for result in results if result.status != "not run"])
    if ran < len(results) and not ran:
        return "interrupted before the first scenario came to its end"
    scenarios = "1 scenario" if ran == 1 else f"{ran} scenarios"
    verdict = f"{failed} of {scenarios} failed" if failed else f"{scenarios}, nothing found"
    return verdict if ran == len(results) else f"interrupted: {verdict}"


def _source(found: Found) -> str:
    return f"{found.document}: {found.topic}" if found.document else ""


def as_dict(spec: str, results: Sequence[Result]) -> dict[str, Any]:
    """For JSON."""
    return {
        "driver": spec,
        "clean": is_clean(results),
        "scenarios": [{key: value for key, value in asdict(result).items() if key != "found"} for result in results],
        "findings": [asdict(found) | {"scenarios": names} for found, names in collected(results)],
    }


def write_junit(file: IO[bytes], spec: str, results: Sequence[Result]) -> None:
    """JUnit's XML, one test case a scenario. Raises OSError."""
    suite = ET.Element("testsuite", name=f"fastring check {spec}", tests=str(len(results)), errors="0")
    suite.set("failures", str(sum(result.status == "failed" for result in results)))
    suite.set("skipped", str(sum(result.status == "not run" for result in results)))
    suite.set("time", f"{sum(result.seconds for result in results):.3f}")
    for result in results:
        case = ET.SubElement(suite, "testcase", classname=spec, name=result.name, time=f"{result.seconds:.3f}")
        if result.status == "not run":
            ET.SubElement(case, "skipped", message=result.why)
        elif result.status == "failed":
            failure = ET.SubElement(case, "failure", message=_plain(result.why))
            failure.text = _plain("\n\n".join(_paragraph(found) for found in result.found))
    ET.ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)


def _paragraph(found: Found) -> str:
    parts = [found.rule and f"{found.rule} [{_source(found)}]", " in ".join(filter(None, (found.where, found.operation)))]
    return "\n".join(part for part in (*parts, found.detail, found.instead and f"do: {found.instead}") if part)


def _plain(text: str) -> str:
    """Without what XML cannot hold."""
    return "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
