"""The command line's surface, its speed's cause (no heavy import before a verb runs) and its help."""

import shlex
import subprocess
import sys
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from worldmodel.cli.compose import composed_values
from worldmodel.cli.help import docs_of, presets
from worldmodel.cli.main import main, split_verb
from worldmodel.cli.verbs import VERBS

HEAVY = ("torch", "numpy", "hydra", "omegaconf", "diffusers", "transformers", "rerun", "pyarrow", "panda3d", "PIL")


def run(capsys: pytest.CaptureFixture[str], line: str) -> tuple[int, str, str]:
    status = main(shlex.split(line))
    said = capsys.readouterr()
    return status, said.out, said.err


def defaults_of(name: str) -> dict[str, Any]:
    """All keys of a verb with their values before anything is typed."""
    return composed_values(VERBS[name].load(VERBS[name].config), [])


def test_surface_is_frozen() -> None:
    assert list(VERBS) == [
        "demo", "data toyworld", "data index", "cache build", "cache look", "train", "predict", "benchmark",
        "benchmark clips", "benchmark compare", "export", "export run", "export verify", "export check", "export build",
        "export bench", "export budget", "view",
    ]  # fmt: skip


def test_nothing_heavy_is_imported_before_a_verb_runs() -> None:
    lines: list[list[str]] = [["--help"], ["--version"], [], ["data"], ["nonsense"]]
    code = f"import sys; from worldmodel.cli.main import main; [main(line) for line in {lines}];"
    code += f"print(*set({HEAVY}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "", f"imported: {done.stdout.splitlines()[-1]}"


def test_importing_the_package_brings_no_viewer_or_decoder() -> None:
    code = f"import sys, worldmodel; print(*[m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_module_and_console_script_are_the_same_command() -> None:
    command = [sys.executable, "-m", "worldmodel", "train", "--flag"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no flag --flag") and done.stderr.count("\n") == 1


def test_general_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "--help")
    assert status == 0 and err == "" and all(f"  {verb} " in out for verb in VERBS)


def undocumented(config_class: type, values: dict[str, Any], prefix: str = "") -> list[str]:
    docs, hints, missing = docs_of(config_class), get_type_hints(config_class), []
    for key, value in values.items():
        if isinstance(value, dict) and is_dataclass(hints[key]):
            missing += undocumented(hints[key], value, f"{prefix}{key}.")
        elif not docs.get(key):
            missing.append(prefix + key)
    return missing


@pytest.mark.parametrize("name", VERBS)
def test_verb_help_documents_every_key(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, f"{name} --help")
    assert status == 0, err
    config_class = VERBS[name].load(VERBS[name].config)
    assert undocumented(config_class, defaults_of(name)) == []
    assert all(f"  {example}" in out for example in VERBS[name].examples)
    assert max(map(len, out.splitlines())) <= 140


@pytest.mark.parametrize("example", [(name, line) for name, verb in VERBS.items() for line in verb.examples], ids=str)
def test_examples_in_the_help_can_be_pasted(example: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    name, line = example
    command, *words = shlex.split(line)
    verb, rest = split_verb(words)
    assert (command, verb) == ("worldmodel", name) and "--help" not in rest
    status, out, err = run(capsys, f"{name} --cfg {shlex.join(rest)}")
    assert status == 0, err
    assert "???" not in out, "the example leaves a required key out"


@pytest.mark.parametrize("experiment", presets("experiment"))
def test_every_training_preset_composes(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, f"train --cfg experiment={experiment}")
    assert status == 0, err
    assert presets("experiment")[experiment], "the preset's first comment line is its description"


@pytest.mark.parametrize("name", VERBS)
def test_an_unknown_key_dies(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, f"{name} no_such_key=1")
    assert (status, out) == (2, "") and err.startswith("error: unknown key 'no_such_key'") and err.count("\n") == 1


def test_own_presets_are_found_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "mine.yaml").write_text("# @package _global_\nseed: 41\n")
    (folder / "typo.yaml").write_text("# @package _global_\nseeed: 41\n")
    status, out, err = run(capsys, f"train --cfg --config-dir {tmp_path} experiment=mine")
    assert status == 0 and "seed: 41" in out, err
    status, _, err = run(capsys, f"train --cfg --config-dir {tmp_path} experiment=typo")
    assert status == 2 and "experiment/typo.yaml: unknown key 'seeed': did you mean seed" in err
    status, _, err = run(capsys, "train --cfg experiment=absent")
    assert status == 2 and "no preset experiment=absent: choose one of" in err
    status, _, err = run(capsys, f"train --config-dir {tmp_path}/no")
    assert status == 2 and "is no folder" in err


def test_verbs_without_presets_never_load_hydra(tmp_path: Path) -> None:
    verbs = [name for name, verb in VERBS.items() if not verb.presets]
    code = "import sys; from worldmodel.cli.main import main\n"
    code += f"for name in {verbs}: main([*name.split(), '--cfg'])\nprint(*{{'hydra', 'omegaconf'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if not verb.presets])
def test_a_verb_without_presets_refuses_a_folder_of_them(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, _, err = run(capsys, f"{name} --config-dir {tmp_path}")
    assert status == 2 and f"{name} has no presets; leave it out" in err


def test_the_switch_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDMODEL_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no verb"):
        main(["nonsense"])
