"""Tables for people, and the one way in which results are written and printed: a page, then a line of JSON."""

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from worldmodel.files import written_whole

Record = dict[str, Any]
"""A row of a table by its columns, or a JSON document."""


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table as short as it can be."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table, the keys at its head."""
    head = list(rows[0])
    return markdown_table(head, [[str(row[column]) for column in head] for row in rows])


def aligned_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table that a terminal shows as one: columns of one width, words to the left, numbers to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    left = [not any(cell[:1].isdigit() for cell in column[1:]) for column in columns]
    rule = [
        f":{'-' * (width - 1)}" if words else f"{'-' * (width - 1)}:" for width, words in zip(widths, left, strict=True)
    ]

    def line(row: Sequence[str]) -> str:
        cells = zip(row, widths, left, strict=True)
        return f"| {' | '.join(cell.ljust(width) if words else cell.rjust(width) for cell, width, words in cells)} |"

    return "\n".join(line(row) for row in [head, rule, *rows])


def scores_table(summaries: Mapping[str, Mapping[str, Mapping[str, float]]], cameras: Sequence[str]) -> str:
    """PSNR and SSIM of methods side by side, cameras below each other, their mean last.

    Args:
        summaries: `FrameScores.summary` by method name.
    """
    first = max(len(name) for name in (*cameras, "camera"))
    widths = {method: max(14, len(method)) for method in summaries}
    head = "  ".join([" " * first, *(method.rjust(width) for method, width in widths.items())])
    units = "  ".join(["camera".ljust(first), *("PSNR   SSIM".rjust(width) for width in widths.values())])
    lines = [head, units]
    for name in (*cameras, "mean"):
        scores = [(summaries[method][name], width) for method, width in widths.items()]
        cells = [f"{score['psnr_db']:6.2f} {score['ssim']:6.3f}".rjust(width) for score, width in scores]
        lines.append("  ".join([name.ljust(first), *cells]))
    return "\n".join(lines)


def publish(text: str, headline: Mapping[str, Any], files: Mapping[Path, str] | None = None) -> None:
    """Write `files`, each whole or not at all; print the page for people and, as the last line, JSON for programs."""
    for path, content in (files or {}).items():
        with written_whole(path) as partial:
            partial.write_text(content, encoding="utf-8")
    print(text)
    print(json.dumps(headline))


def dated(folder: Path, name: str, text: str, result: Mapping[str, Any]) -> dict[Path, str]:
    """The page and the JSON line of a result that is kept by today's date, for `publish`."""
    stem = folder / f"{datetime.date.today().isoformat()}_{name}"
    return {stem.with_suffix(".md"): text, stem.with_suffix(".json"): json.dumps(result) + "\n"}
