"""Words after the verb become a checked dataclass; everything else is refused in one line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from worldmodel.conf.compose import compose
from worldmodel.conf.describe import describe, docs_of
from worldmodel.errors import InputError


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


def sample(*words: str, folder: Path | None = None) -> Sample:
    return compose(Sample, "view", words, folder)


def test_defaults_and_types_survive() -> None:
    assert sample("root=a") == Sample(root=Path("a"))
    words = ("root=a", "size=[2,3]", "cameras=[L,R]", "method=unipc", "optimiser.rate=1", "+extra.a.b=2", "steps=7")
    expected = Sample(Path("a"), (2, 3), ("L", "R"), None, "unipc", 7, Optimiser(1.0), {"a": {"b": 2}})
    assert sample(*words) == expected


@pytest.mark.parametrize(
    "text", ["a car, driving", "Zürich (1)/é+@[x].mp4", "it's {odd} \\ = 3", "a=b,c", "~/x", "null point", "'quoted'"]
)
def test_text_keys_take_their_value_as_typed(text: str) -> None:
    assert sample("root=a", f"prompt={text}").prompt == text.strip("'")
    assert sample(f"root={text}").root == Path(text.strip("'"))


def test_null_is_no_text() -> None:
    assert sample("root=a", "prompt=null").prompt is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["root=a", "stepz=3"], "unknown key 'stepz': did you mean steps?"),
        (["root=a", "+stepz=3"], "unknown key 'stepz'"),
        (["root=a", "optimiser.rat=3"], "unknown key 'optimiser.rat': did you mean optimiser.rate"),
        (["root=a", "qqq=1"], "known are "),
        (["root=a", "~steps"], "key 'steps' cannot be removed"),
        (["root=a", "steps=many"], "steps: Value 'many'"),
        (["root=a", "steps=1.5"], "steps: Value '1.5'"),
        (["root=a", "steps=1,2"], "reads as several runs"),
        (["root=a", "cameras=L,R"], "for a list write 'cameras=[a,b]'"),
        (["root=a", "size=[1]"], "size=[1]: give 2 values"),
        (["root=a", "method=heun"], "method=heun: choose one of euler, unipc"),
        (["root=a", "steps=(3"], "cannot read 'steps=(3'"),
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
