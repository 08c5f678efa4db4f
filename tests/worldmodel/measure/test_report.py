"""Tables, and results that are written whole, printed and kept by date."""

import json
from pathlib import Path

import pytest

from worldmodel.measure.machine import describe, described, versions
from worldmodel.measure.report import aligned_table, dated, markdown_table, publish, table_of


def test_tables() -> None:
    rows = [["x", "1"], ["yy", "23"]]
    assert markdown_table(["a", "b"], rows) == "| a | b |\n| --- | --- |\n| x | 1 |\n| yy | 23 |"
    assert table_of([{"a": "x", "b": 1}, {"b": 23, "a": "yy"}]) == markdown_table(["a", "b"], rows)
    assert aligned_table(["a", "b"], rows) == "| a  |  b |\n| :- | -: |\n| x  |  1 |\n| yy | 23 |"


def test_what_is_published_is_written_and_its_last_line_is_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publish("a page", {"figure": 1}, {tmp_path / "new" / "report.md": "a page\n"})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "a page" and json.loads(printed[-1]) == {"figure": 1}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.md"]


def test_a_kept_result_is_named_by_its_date(tmp_path: Path) -> None:
    page, line = dated(tmp_path, "study", "a page\n", {"figure": 1}).items()
    assert page[0].name.endswith("_study.md") and page[0].name[:2] == "20" and page[1] == "a page\n"
    assert line[0] == page[0].with_suffix(".json") and json.loads(line[1]) == {"figure": 1}


def test_versions_are_known_without_an_installed_distribution() -> None:
    numbers = versions(("worldmodel", "numpy", "no-such-distribution"))
    assert list(numbers) == ["python", "worldmodel", "numpy", "no-such-distribution"]
    assert numbers["no-such-distribution"] == "absent" and numbers["worldmodel"][0].isdigit()


def test_a_machine_is_a_line_for_people() -> None:
    assert described(describe(("numpy",))).startswith("Machine: ")
