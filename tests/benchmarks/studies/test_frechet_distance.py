"""The distance beside scipy's and torchmetrics' ways, at a size that takes a moment."""

import pytest

from worldmodel.benchmarks.studies.frechet_distance import measure, text_of


def test_side_by_side_measurement() -> None:
    pytest.importorskip("scipy", reason="scipy is not installed")
    rows = measure(64, 200, rounds=1) + measure(64, 30, rounds=1)
    assert {row["dimensions"] for row in rows} == {64} and len(rows) == 7
    assert all(row["error"] < 1e-8 for row in rows if "ours" in row["way"])
    assert "Goal, at least 3.0" in text_of(rows, 1)
