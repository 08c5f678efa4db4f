"""Bare words take their keys, and the verbs of a vehicle read their settings without anything that it lacks."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import yaml

from worldmodel.cli.compose import as_yaml, compose, composed_values
from worldmodel.cli.verbs import VERBS
from worldmodel.errors import InputError

POSITIONAL = ("root", "videos...", "out")
HEAVY = ("torch", "hydra", "omegaconf", "jaxtyping", "diffusers", "transformers", "msgspec", "pyarrow", "PIL", "rerun")


@dataclass(frozen=True)
class Sample:
    """A configuration with every kind of key.

    Attributes:
        root, videos, out, size, prompt, steps, rate, method, loud: of each kind one.
    """

    root: Path
    videos: tuple[str, ...] = ()
    out: str = "out"
    size: tuple[int, int] = (256, 384)
    prompt: str | None = None
    steps: int | None = None
    rate: float = 12.0
    method: Literal["euler", "unipc"] = "euler"
    loud: bool = False


def sample(*words: str) -> Sample:
    return compose(Sample, words, POSITIONAL)


def test_every_kind_of_key() -> None:
    words = ("root=a", "videos=[x, y]", "size=[2,3]", "prompt=a b", "steps=7", "rate=5", "method=unipc", "loud=TRUE")
    assert sample(*words) == Sample(Path("a"), ("x", "y"), "out", (2, 3), "a b", 7, 5.0, "unipc", True)
    assert isinstance(sample(*words).rate, float)
    assert sample("root=a", "steps=null", "prompt=null", "videos=[]") == Sample(Path("a"))
    assert sample("root=a", "out='null'").out == "null"
    assert sample("root=a", "steps=1", "steps=2").steps == 2, "the last counts"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["r"], ("r", (), "out")),
        (["r", "1.mp4", "o"], ("r", ("1.mp4",), "o")),
        (["r", "1", "2", "3", "o"], ("r", ("1", "2", "3"), "o")),
        (["r", "1", "2", "out=o"], ("r", ("1", "2"), "o")),
        (["videos=[1,2]", "r", "o"], ("r", ("1", "2"), "o")),
        (["root=r", "1", "o", "steps=3"], ("r", ("1",), "o")),
        (["r", "1"], ("r", ("1",), "out")),
        (["r", "a,b [c].mp4", "o"], ("r", ("a,b [c].mp4",), "o")),
    ],
)
def test_bare_words_take_their_keys(words: list[str], expected: tuple) -> None:
    config = sample(*words)
    assert (str(config.root), config.videos, config.out) == expected


def test_file_names_with_an_equals_sign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drive=1.mp4").touch()
    (tmp_path / "steps=3").touch()
    config = sample("./lr=1e-4/art", "drive=1.mp4", "./future=1.mp4", "steps=3")
    assert config == Sample(Path("./lr=1e-4/art"), ("drive=1.mp4",), "./future=1.mp4", steps=3), "a key stays a key"
    with pytest.raises(InputError, match=r"a file name with = is written \./future=1\.mp4"):
        sample("a", "drive=1.mp4", "future=1.mp4")


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    assert sample("~/a", "videos=[~/b,'c, d']", "prompt=~/e") == Sample(
        Path("/home/ada/a"), ("/home/ada/b", "c, d"), prompt="~/e"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["root=a", "stepz=3"], "unknown key 'stepz': did you mean steps?"),
        (["root=a", "qqq=1"], "unknown key 'qqq': known are loud, method, out"),
        (["root=a", "steps=many"], "steps=many: give a whole number"),
        (["root=a", "steps=1.5"], "steps=1.5: give a whole number"),
        (["root=a", "rate=fast"], "rate=fast: give a number"),
        (["root=a", "loud=1"], "loud=1: give true or false"),
        (["root=a", "out=null"], "out=null: give text"),
        (["root=a", "size=[1]"], "size=[1]: give 2 values, size=[…,…]"),
        (["root=a", "size=[1,x]"], "size=x: give a whole number"),
        (["root=a", "videos=L,R"], "videos=L,R: for a list write 'videos=[a,b]'"),
        (["root=a", "method=heun"], "method=heun: choose one of euler, unipc"),
        ([], "key 'root' has no value: add root=..."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sample(*words)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_bare_word_too_many_without_a_list() -> None:
    with pytest.raises(InputError, match="cannot read 'c': write key=value"):
        compose(Sample, ["a", "b", "c"], ("root", "out"))


def test_settings_as_yaml_are_those_that_were_typed() -> None:
    values = composed_values(Sample, ["videos=[a: b,'c']", "prompt=yes", "rate=1e-3"], POSITIONAL)
    shown = yaml.safe_load(as_yaml(values))
    assert shown["root"] == "???" and shown["videos"] == ["a: b", "c"] and shown["prompt"] == "yes"
    assert (shown["size"], shown["steps"], shown["rate"], shown["loud"]) == ([256, 384], None, 0.001, False)


@pytest.mark.parametrize("name", [name for name in VERBS if name.startswith("export ")])
def test_plain_verbs_load_nothing_that_a_vehicle_lacks(name: str) -> None:
    lines = [[*name.split(), *words] for words in (["--help"], ["--cfg"], ["no_such_key=1"])]
    code = f"import sys; from worldmodel.cli.main import main; [main(line) for line in {lines}];"
    code += f"print(*sorted(set({HEAVY}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "", f"imported: {done.stdout.splitlines()[-1]}"
