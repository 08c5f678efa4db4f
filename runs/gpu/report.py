"""JSON lines of `evidence.py` to a dated result and to tables beside the paper's published figures.

    python runs/gpu/report.py OUT/lines.jsonl [MORE.jsonl ...] [--keep] [--into docs/gpu.md]

Of several lines for the same figure the last counts, so that a second run completes or replaces the first. `--keep`
writes `benchmarks/results/DATE_gpu.md` and `.jsonl`; `--into` puts the headline between the marks `<!-- gpu -->` and
`<!-- /gpu -->` of each file.
"""

import argparse
import datetime
import json
import re
from pathlib import Path
from typing import Any

from lines import read_lines
from tables import headline, sections

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- gpu -->\n).*?(<!-- /gpu -->)", re.DOTALL)

Line = dict[str, Any]


def gathered(paths: list[Path]) -> list[Line]:
    """All lines; a figure that was measured again, or failed and was then had, replaces the one before."""
    found: dict[str, Line] = {}
    for line in (one for path in paths for one in read_lines(path)):
        names = ("stage", "what", "row", "which", "of", "way", "cameras", "batch", "name", "size")
        key = json.dumps({name: line.get(name) for name in names if name != "stage" or line["what"] != "kernel"})
        found.pop(key, None)
        found[key] = line
    return list(found.values())


def page(lines: list[Line]) -> str:
    """The whole result for people."""
    parts = ["# A borrowed GPU", headline(lines)]
    parts += [f"## {title}\n\n{text}" for title, text in sections(lines) if text]
    return "\n\n".join(parts) + "\n"


def put_into(path: Path, text: str) -> None:
    """Between the marks of a page."""
    before = path.read_text()
    after, count = MARKED.subn(lambda found: f"{found[1]}{text}\n{found[2]}", before)
    if not count:
        raise SystemExit(f"{path}: has no <!-- gpu --> ... <!-- /gpu -->; write both marks where the table shall be")
    path.write_text(after)


def main() -> None:
    """Print, keep, put into pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("--keep", action="store_true", help="write benchmarks/results/DATE_gpu.md and .jsonl")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of --keep")
    parser.add_argument("--into", type=Path, nargs="*", default=[], help="pages with the marks")
    chosen = parser.parse_args()
    lines = gathered(chosen.lines)
    if not lines:
        raise SystemExit(f"{', '.join(map(str, chosen.lines))}: no lines")
    text = page(lines)
    print(text)
    if chosen.keep:
        stem = chosen.results / f"{datetime.date.today().isoformat()}_gpu"
        stem.with_suffix(".md").write_text(text)
        stem.with_suffix(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for path in chosen.into:
        put_into(path, headline(lines))


if __name__ == "__main__":
    main()
