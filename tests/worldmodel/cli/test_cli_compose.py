"""Words after the verb become a checked dataclass; everything else is refused in one line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from worldmodel.cli.compose import compose
from worldmodel.cli.help import describe, docs_of
from worldmodel.errors import InputError
from worldmodel.training.config import TrainConfig


@dataclass(frozen=True)
class Optimiser:
    """How weights move.

    Attributes:
        rate: learning rate.
    """

    rate: float = 2e-4


@dataclass(frozen=True)
class Sample:
    """A configuration with every kind of key.

    Attributes:
        root: folder of the data,
            which must exist.
        size: height and width in pixels.
    """

    root: Path
    size: tuple[int, int] = (256, 384)
    cameras: tuple[str, ...] = ()
    prompt: str | None = None  # text for the model
    method: Literal["euler", "unipc"] = "euler"
    steps: int = 5
    """Network evaluations."""
    optimiser: Optimiser = field(default_factory=Optimiser)
    extra: dict[str, Any] = field(default_factory=dict)


def sample(*words: str) -> Sample:
    return compose(Sample, words)


def test_defaults_and_types_survive() -> None:
    assert sample("root=a") == Sample(root=Path("a"))
    words = ("root=a", "size=[2,3]", "cameras=[L,R]", "method=unipc", "optimiser.rate=1", "+extra.a.b=2", "steps=7")
    expected = Sample(Path("a"), (2, 3), ("L", "R"), None, "unipc", 7, Optimiser(1.0), {"a": {"b": 2}})
    assert sample(*words) == expected


@pytest.mark.parametrize(
    "text",
    [
        "a car, driving", "Zürich (1)/é+@[x].mp4", "it's {odd} \\ = 3", "a=b,c", "a~b", "null point", "'quoted'",
        "runs/lr=1e-4,seed=0", "20231128_143015", "14:30:15.mp4", "My Videos (2)", "true", "50%", "#1", "@x", "?",
    ],
)  # fmt: skip
def test_text_keys_take_their_value_as_typed(text: str) -> None:
    assert sample("root=a", f"prompt={text}").prompt == text.strip("'")
    assert sample(f"root={text}").root == Path(text.strip("'"))
    if "," not in text:
        assert sample("root=a", f"cameras=[b,{text}]").cameras == ("b", text.strip("'"))
    if "'" not in text:
        assert sample("root=a", f"cameras=['{text}']").cameras == (text,)


def test_a_key_that_takes_anything_takes_odd_paths() -> None:
    words = ["extra.a.path=runs/lr=1e-4,seed=0", "extra.a.other=My Videos (2)/x", "extra.a.list=[1,2]", "extra.a.n=3"]
    assert sample("root=a", *words).extra == {
        "a": {"path": "runs/lr=1e-4,seed=0", "other": "My Videos (2)/x", "list": [1, 2], "n": 3}
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-3", -3), ("007", "007"), ("1e-4", 1e-4), (".5", 0.5), ("1_000", 1000), ("True", True),
        ("NULL", None), ("'1'", "1"), ("tiny", "tiny"), ("1-2", "1-2"), ("1.2.3", "1.2.3"), ("", ""),
        ("[a,[1,2],'b,c']", ["a", [1, 2], "b,c"]), ("{a:1,b:{c:[x]}}", {"a": 1, "b": {"c": ["x"]}}), ("[]", []),
    ],
)  # fmt: skip
def test_a_key_that_takes_anything_reads_what_stands_there(text: str, value: Any) -> None:
    assert sample("root=a", f"extra.a={text}", "++extra.b=1").extra == {"a": value, "b": 1}
    assert type(sample("root=a", f"extra.a={text}").extra["a"]) is type(value)


def test_a_part_may_be_given_whole() -> None:
    assert sample("root=a", "optimiser={rate:1}").optimiser == Optimiser(1.0)
    with pytest.raises(InputError, match=r"^unknown key 'optimiser\.rat': did you mean optimiser\.rate\?$"):
        sample("root=a", "optimiser={rat:1}")


def test_home_is_expanded_in_every_path_and_in_no_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    config = sample("root=~/a", "cameras=[~/b,c]", "extra.x.y=~/d", "prompt=~/e")
    assert config.root == Path("/home/ada/a") and config.cameras == ("/home/ada/b", "c")
    assert config.extra == {"x": {"y": "/home/ada/d"}} and config.prompt == "~/e"


def test_a_preset_that_is_no_yaml_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for name, content in (("latin", "# é\nsteps: 3\n".encode("latin-1")), ("broken", b"steps: [3\n")):
        (tmp_path / "experiment" / f"{name}.yaml").write_bytes(content)
        with pytest.raises(InputError, match=rf"{name}|a preset is no YAML in UTF-8"):
            compose(TrainConfig, [f"experiment={name}"], presets=True, folder=tmp_path)


def test_null_is_no_text() -> None:
    assert sample("root=a", "prompt=null").prompt is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["root=a", "stepz=3"], "unknown key 'stepz': did you mean steps?"),
        (["root=a", "+steps=3"], "unknown key '+steps': did you mean steps?"),
        (["root=a", "optimiser.rat=3"], "unknown key 'optimiser.rat': did you mean optimiser.rate"),
        (["root=a", "qqq=1"], "known are "),
        (["root=a", "~steps"], "key 'steps' cannot be removed"),
        (["root=a", "steps=many"], "steps=many: give a whole number"),
        (["root=a", "steps=1.5"], "steps=1.5: give a whole number"),
        (["root=a", "steps=1,2"], "steps=1,2: give a whole number"),
        (["root=a", "cameras=L,R"], "for a list write 'cameras=[a,b]'"),
        (["root=a", "size=[1]"], "size=[1]: give 2 values"),
        (["root=a", "method=heun"], "method=heun: choose one of euler, unipc"),
        (["root=a", "steps=(3"], "steps=(3: give a whole number"),
        (["root=a", "extra=3"], "extra=3: give a dictionary"),
        (["root=a", "optimiser=3"], "optimiser=3: give a Optimiser"),
        (["root=a", "steps"], "cannot read 'steps'"),
        (["root=a", "hydra.run.dir=x"], "unknown key 'hydra.run.dir'"),
        ([], "key 'root' has no value: add root=..."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(words: list[str], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sample(*words)
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_key_help_reads_docstring_comment_and_string() -> None:
    docs = docs_of(Sample)
    assert docs == {
        "root": "folder of the data, which must exist.",
        "size": "height and width in pixels.",
        "prompt": "text for the model",
        "steps": "Network evaluations.",
    }
    text = "\n".join(describe(Sample, {"root": "???", "size": [256, 384], "optimiser": {"rate": 2e-4}}))
    assert "size=[256,384]" in text and "optimiser.rate=0.0002" in text and "learning rate." in text
