"""What `worldmodel --help` and `worldmodel VERB --help` say."""

import ast
import dataclasses
import inspect
import re
import textwrap
from importlib import resources
from typing import Any

from worldmodel.cli.verbs import VERBS, Verb
from worldmodel.cli.words import bare
from worldmodel.settings import hints_of, shown

WIDTH = 112


def general_help() -> str:
    """All verbs, a line each."""
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {name.ljust(width)}{verb.summary}" for name, verb in VERBS.items())
    return f"""usage: worldmodel VERB [key=value ...]

From observed camera frames of a drive to the next frames.

verbs:
{verbs}

worldmodel VERB --help   keys with defaults, presets, examples
worldmodel VERB --cfg    the composed settings as YAML, and nothing is run
worldmodel --version

examples:
  worldmodel demo
  worldmodel data toyworld root=data/toyworld

WORLDMODEL_TRACEBACK=1 shows where an error came from."""


def verb_help(name: str, verb: Verb, config_class: type, values: dict[str, Any]) -> str:
    """Usage, examples, presets and keys of one verb; `values` are those that `--help` shows."""
    words = " ".join(["worldmodel", name, *map(str.upper, verb.positional), "[key=value ...] [--cfg]"])
    lines = [f"usage: {words}{' [--config-dir DIR]' if verb.presets else ''}", "", verb.summary, "", "examples:"]
    lines += [f"  {example}" for example in verb.examples]
    if verb.presets:
        lines += ["", "presets (your own: --config-dir DIR with DIR/experiment/NAME.yaml):"]
        lines += [line for group, doc in presets("experiment").items() for line in entry(f"experiment={group}", doc)]
    return "\n".join([*lines, "", "keys (a value ??? must be given):", *describe(config_class, values)])


def describe(config_class: type, values: dict[str, Any], prefix: str = "") -> list[str]:
    """One line per key: name, value of the preset, and the one line that the dataclass says about it."""
    docs, hints, lines = docs_of(config_class), hints_of(config_class), []
    for field in dataclasses.fields(config_class):
        if field.name not in values:
            continue
        value, key = values[field.name], prefix + field.name
        hint = bare(hints[field.name])
        if isinstance(value, dict) and dataclasses.is_dataclass(hint):
            lines += describe(hint, value, f"{key}.")  # type: ignore[arg-type]
        else:
            lines += entry(f"{key}={shown(value)}", docs.get(field.name, ""))
    return lines


def entry(left: str, doc: str, column: int = 34) -> list[str]:
    """Two columns; a long left side gets a line of its own."""
    wrapped = textwrap.wrap(doc, WIDTH - column - 2) or [""]
    head = [f"  {left}".ljust(column) + "  " + wrapped[0]] if len(left) + 2 <= column else [f"  {left}"]
    rest = wrapped[1:] if len(left) + 2 <= column else wrapped
    return [line.rstrip() for line in head + [" " * (column + 2) + line for line in rest]]


def docs_of(config_class: type) -> dict[str, str]:
    """Key to documentation: the docstring's Attributes section, else the comment behind or the string below a field."""
    docs: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        if dataclasses.is_dataclass(base):
            names = [field.name for field in dataclasses.fields(base)]
            docs |= comments_of(base) | attributes_of(base.__doc__ or "", names)
    return docs


def attributes_of(docstring: str, names: list[str]) -> dict[str, str]:
    """`name: text` and `name, name: text` below `Attributes:`, at the head of a line or within one."""
    _, _, section = inspect.cleandoc(docstring).partition("Attributes:\n")
    section = " ".join(re.split(r"\n(?=\S)", section)[0].split())
    name = f"`?(?:{'|'.join(names)})`?"
    parts = re.split(rf"(?:^|(?<=[.;:] )|(?<=\w ))({name}(?:, {name})*): ", section)
    docs: dict[str, str] = {}
    for listed, text in zip(parts[1::2], parts[2::2], strict=True):
        docs |= {key.strip("` "): text.strip().rstrip(";") for key in listed.split(",")}
    return docs


def comments_of(config_class: type) -> dict[str, str]:
    """The comment behind each field, or the string literal on the line below it."""
    try:
        source = textwrap.dedent(inspect.getsource(config_class))
    except (OSError, TypeError):
        return {}
    lines, docs = source.splitlines(), {}
    body = ast.parse(source).body[0].body  # type: ignore[attr-defined]
    for node, below in zip(body, body[1:] + [None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            comment = lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset or 0 :].partition("#")[2].strip()
            literal = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            docs[node.target.id] = comment or (inspect.cleandoc(str(below.value.value)) if literal else "")  # type: ignore[union-attr]
    return {name: doc for name, doc in docs.items() if doc}


def presets(group: str) -> dict[str, str]:
    """Shipped presets of a group, with the first comment line of each file."""
    folder = resources.files("worldmodel.cli.presets").joinpath(group)
    if not folder.is_dir():
        return {}
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    return {file.name.removesuffix(".yaml"): headline(file.read_text()) for file in files}


def headline(text: str) -> str:
    comments = (line[1:].strip() for line in text.splitlines() if line.startswith("#"))
    return next((line for line in comments if line and not line.startswith("@package")), "")
