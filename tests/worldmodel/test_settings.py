"""Settings are checked where they are made: by the command line and by Python alike, every field of every verb."""

from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from worldmodel.benchmarks.methods.registry import METHODS, check_method
from worldmodel.cli.commands.cache_build import CacheBuildConfig
from worldmodel.cli.commands.predict import PredictConfig
from worldmodel.cli.main import main
from worldmodel.cli.verbs import VERBS
from worldmodel.errors import InputError
from worldmodel.settings import Rule, Settings, converted
from worldmodel.training import DataConfig, LoraConfig, OptimizerConfig, TinyModelConfig, TrainConfig, ValidationConfig

ANY_NUMBER = {
    "log_variance",
    "sigma_shift",
    "seconds",
}  # of a logarithm, a logit; the last has its own rule


def option_classes() -> Iterator[type]:
    """Of every benchmarked method."""
    for place in METHODS.values():
        module, _, name = place.partition(":")
        load = getattr(__import__(module, fromlist=[name]), name)
        yield next(hint for what, hint in get_type_hints(load).items() if what != "return")


def classes() -> list[type]:
    """All that a verb or a method is told, their parts included."""
    found = {verb.load(verb.config) for verb in VERBS.values()} | {*option_classes()}
    parts = {hint for one in found for hint in get_type_hints(one).values() if is_dataclass(hint)}
    return sorted(found | parts, key=lambda one: one.__name__)


CLASSES = classes()


def fields_of(one: type) -> dict[str, Any]:
    """Hints by the key as it is typed."""
    names = {field.name for field in fields(one)}  # type: ignore[arg-type]
    return {one.key_prefix + name: hint for name, hint in hints(one).items() if name in names}  # type: ignore[attr-defined]


def hints(one: type) -> dict[str, Any]:
    return get_type_hints(one, include_extras=True)


def arms(hint: Any) -> list[Any]:
    """A hint without None."""
    return [arm for arm in get_args(hint) if arm is not type(None)] if type(None) in get_args(hint) else [hint]


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_every_configuration_checks_itself(one: type) -> None:
    assert issubclass(one, Settings)
    for field in fields(one):  # every default passes
        if field.default is not MISSING:
            converted(hints(one)[field.name], field.default, field.name)
    for key, hint in fields_of(one).items():
        with pytest.raises(InputError, match=f"^{key}="):
            converted(hint, object(), key)


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_every_number_has_a_range_every_word_its_choices_and_every_text_some_content(one: type) -> None:
    for key, hint in fields_of(one).items():
        (arm,) = arms(hint)
        kind, rules = (get_args(arm)[0], arm.__metadata__) if get_origin(arm) is Annotated else (arm, ())
        free = key.rpartition(".")[2] in ANY_NUMBER
        if kind in (int, float, str) and key not in ("prompt", "negative_prompt"):
            assert any(isinstance(rule, Rule) for rule in rules), key
        bad: list[Any] = [1] if kind is bool else ["nonsense"] if get_origin(kind) is Literal else []
        bad += [float("nan"), True, "1"] if kind in (int, float) else []
        bad += [-(10**9)] if kind in (int, float) and not free else []
        for value in bad:
            with pytest.raises(InputError, match=key):
                converted(hint, value, key)


BAD: dict[str, tuple[Any, str]] = {
    "objective": (lambda: TrainConfig(data(), objective="nonsense"), "objective=nonsense: choose one of flowframes"),
    "sigma": (lambda: TrainConfig(data(), sigma="cosine"), "sigma=cosine: choose one of logit_normal, uniform"),
    "precision": (lambda: TrainConfig(data(), precision="fp16"), "precision=fp16: choose one of no, bf16"),
    "device": (lambda: TrainConfig(data(), device="gpu"), "device=gpu: choose one of auto, cpu"),
    "every": (lambda: ValidationConfig(every=-1), "validation.every=-1: use at least 0"),
    "workers": (lambda: data(workers=-1), "data.workers=-1: use at least 0"),
    "seed": (lambda: TrainConfig(data(), seed=-1), "seed=-1: use a number from 0 to 4294967295"),
    "nan": (lambda: OptimizerConfig(lr=float("nan")), "optimizer.lr=nan: use a number above 0"),
    "betas": (lambda: OptimizerConfig(betas=(0.9, 1.0)), "optimizer.betas=1.0: use a number from 0 to below 1"),
    "one beta": (lambda: OptimizerConfig(betas=(0.9,)), "optimizer.betas=[0.9]: give 2 values"),
    "clip": (lambda: OptimizerConfig(clip=0), "optimizer.clip=0: use a number above 0"),
    "rank": (lambda: LoraConfig(rank=-1), "lora.rank=-1: use at least 0"),
    "head_dim": (lambda: TinyModelConfig(head_dim=15), "model.head_dim=15: use an even number"),
    "cameras": (lambda: data(cameras=()), "data.cameras=[]: give at least one"),
    "tracker": (lambda: TrainConfig(data(), trackers=("mlflow",)), "trackers=mlflow: choose of tensorboard, wandb"),
    "text": (lambda: TrainConfig(data(), out=""), "out=: give a text that is not empty"),
    "data": (lambda: TrainConfig("toy"), "data=toy: give a DataConfig"),
    "task": (lambda: CacheBuildConfig(data(), task=-1), "task=-1: use at least 0"),
    "number as text": (lambda: TrainConfig(data(), steps="10"), "steps=10: give a whole number"),
    "fraction": (lambda: TrainConfig(data(), steps=1.5), "steps=1.5: give a whole number"),
}


def data(**more: Any) -> DataConfig:
    return DataConfig("toy", **more)


@pytest.mark.parametrize("case", BAD)
def test_python_is_told_what_the_command_line_is_told(case: str) -> None:
    make, said = BAD[case]
    with pytest.raises(InputError) as raised:
        make()
    assert str(raised.value).startswith(said)


WORDS = {
    "train validation.every=-1": "validation.every=-1: use at least 0",
    "train sigma=cosine": "sigma=cosine: choose one of logit_normal, uniform",
    "predict source=drive.mp4 steps=0": "steps=0: use at least 1",
    "predict source=drive.mp4 device=gpu": "device=gpu: use auto, cpu, cuda or cuda:N",
    "benchmark cost.warmup=-1": "cost.warmup=-1: use at least 0",
    "benchmark clips frames=1": "frames=1: a clip needs an observed and a future frame",
    "export smoothing=2": "smoothing=2.0: use a number from 0 to 1",
    "export run artifact drive.mp4 out.mp4 threads=0": "threads=0: use at least 1",
    "export verify artifact samples=0": "samples=0: use at least 1",
    "export check artifact target=xavier": "target=xavier: choose one of orin, thor, x86",
    "export build artifact level=6": "level=6: use a number from 0 to 5",
    "export bench artifact rounds=0": "rounds=0: use at least 1",
    "export budget prompt_tokens=0": "prompt_tokens=0: use at least 1",
    "data toyworld jpeg_quality=0": "jpeg_quality=0: use a number from 1 to 100",
    "data index root=toy workers=-1": "workers=-1: use at least 0",
    "view path=rollout.rrd port=70000": "port=70000: use a number from 1 to 65534",
}


@pytest.mark.parametrize("words", WORDS)
def test_the_command_line_says_it_in_one_line(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["data.root=toy"] if words.startswith("train") else []
    assert main([*words.split(), *more]) == 2
    assert capsys.readouterr().err.startswith(f"error: {WORDS[words]}")
    assert not list(tmp_path.iterdir())


def test_a_method_checks_its_options() -> None:
    with pytest.raises(InputError, match=r"methods\.vista: steps=1: use at least 2"):
        check_method("vista", {"steps": 1})


def test_paths_lists_and_numbers_of_numpy_are_taken_for_what_they_are() -> None:
    made = PredictConfig(Path("drives/one.mp4"), size=[64, 96], steps=np.int64(3), start=np.float32(0.5))
    assert (made.source, made.size, made.steps, made.start) == ("drives/one.mp4", (64, 96), 3, 0.5)
    assert type(made.steps) is int and type(made.start) is float
