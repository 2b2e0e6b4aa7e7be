"""docs/checks.md: its table is that of the rules."""

from pathlib import Path

import pytest

from softnet import checks
from softnet.checks.__main__ import table, with_table

DOCUMENT = Path(__file__).parents[3] / "docs" / "checks.md"


def test_the_documents_table_is_up_to_date():
    text = DOCUMENT.read_text()
    assert with_table(text) == text, "run `python -m softnet.checks docs/checks.md`"
    for rule in checks.RULES.values():
        assert f"| {rule.number} | {rule.name} |" in text


def test_the_table_has_a_line_for_each_rule_and_no_cell_too_many():
    lines = table().splitlines()
    assert len(lines) == 2 + 19
    assert {line.count("|") for line in lines} == {7}


def test_a_document_without_a_place_for_it_is_refused():
    with pytest.raises(ValueError, match="for the table to stand between"):
        with_table("# Checks\n")
