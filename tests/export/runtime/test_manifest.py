"""The manifest survives its file exactly, and nothing else passes for one."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import small_artifact as small

from worldmodel.errors import InputError
from worldmodel.export.runtime.manifest import Manifest, sealed
from worldmodel.export.runtime.manifest_fields import Port, Schedule, SelfTest

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small.write_artifact(tmp_path / "artifact")
    return tmp_path / "artifact"


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        Manifest.read(path)
    message = str(caught.value)
    assert "\n" not in message and ";" in message, "one line with a remedy"
    return message


def test_round_trip_by_folder_and_by_name(folder: Path) -> None:
    manifest = Manifest.read(folder)
    free = replace(manifest.parts["step"].inputs[0], shape=("B", small.c, "f", small.h, small.w))
    rare = replace(
        manifest,
        dynamic=True,
        frame_rate=12,
        self_test=SelfTest(3, 5, small.SHA, "AAAA", 1.5),
        parts={
            **manifest.parts,
            "step": replace(manifest.parts["step"], inputs=(free, Port("sigma", "float32", (1,)))),
        },
    )
    assert rare.write(folder / "other.json") == folder / "other.json"
    read = Manifest.read(folder / "other.json")
    assert read == rare and read != manifest and isinstance(read.frame_rate, float)
    assert read.schedule(2) is read.schedules["2"] and read.schedule() is read.schedules["5"]


@pytest.mark.parametrize("old, new", [('"guidance": 1.0', '"guidance": 3.5'), ("small", "smell"), ("\n", " ")])
def test_any_change_of_the_text_is_seen(folder: Path, old: str, new: str) -> None:
    path = folder / "manifest.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert "was changed after it was written" in refused(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff\xfe", "{}"])
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(text.encode("latin-1"))
    assert str(path) in refused(path)


def test_a_missing_file_names_the_folder_to_give(tmp_path: Path) -> None:
    assert "no such file; give the folder that `worldmodel export` wrote" in refused(tmp_path / "manifest.json")


CHANGES: list[tuple[Change, str]] = [
    (lambda all: all.update(schema=2), "schema 2, this worldmodel reads schema 1"),
    (lambda all: all.update(extra=1), "unknown key 'extra'"),
    (lambda all: all["checkpoint"].update(nam="x"), "unknown key 'checkpoint.nam'"),
    (lambda all: all.pop("opset"), "key 'opset' is missing"),
    (lambda all: all["parts"]["step"].pop("file"), "key 'parts.step.file' is missing"),
    (lambda all: all.update(frames="9"), "frames is '9', not a whole number"),
    (lambda all: all.update(dynamic=1), "dynamic is 1, not true or false"),
    (lambda all: all.update(cameras=True), "cameras is True, not a whole number"),
    (lambda all: all.update(family="cogvideo"), "family is 'cogvideo', not one of ltx, wan, tiny"),
    (lambda all: all.update(conventions="ours"), "conventions is 'ours', not one of paper, published"),
    (lambda all: all.update(latents=[1, 2, 3]), "latents has 3 values, not 4"),
    (lambda all: all["precision"].update(step="fp4"), "precision.step is 'fp4', not one of fp32"),
    (lambda all: all["schedules"]["2"]["sigmas"].append(None), "schedules.2.sigmas[2] is None, not a number"),
    (lambda all: all["schedules"]["2"]["sigmas"].append(0.1), "schedules.2 needs 2 sigmas"),
    (lambda all: all["schedules"]["2"]["velocity"][1].pop(), "schedules.2 needs 2 sigmas"),
    (lambda all: all.update(default_steps=3), "default_steps 3 has no schedule"),
    (lambda all: all["parts"].pop("decoder"), "parts are encoder, step, not encoder, step and decoder"),
    (lambda all: all["parts"]["step"]["inputs"].reverse(), None),
    (lambda all: all["parts"]["step"]["inputs"].pop(), "parts.step has ['latents'] where latents, sigma belongs"),
    (lambda all: all["parts"]["encoder"]["inputs"][0].update(dtype="int8"), "where video belongs"),
    (lambda all: all["files"].pop("step.onnx"), "parts.step.file step.onnx has no sha256"),
    (lambda all: all["files"].update({"../step.onnx": small.SHA}), "files.../step.onnx is not"),
    (lambda all: all["files"].update({"step.onnx": "ab"}), "files.step.onnx is not the sha256 of a file"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[str(said) for _, said in CHANGES])
def test_strict_reading(folder: Path, change: Change, said: str | None) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("sha256")
    change(content)
    path.write_text(sealed(content))
    if said is None:
        Manifest.read(path)
    else:
        assert said in refused(path)


def test_a_manifest_from_before_conventions_were_a_choice_is_the_papers(folder: Path) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    path.write_text(sealed({key: value for key, value in content.items() if key not in ("sha256", "conventions")}))
    assert Manifest.read(path).conventions == "paper"


def test_a_streaming_decoder_takes_what_it_leaves(tmp_path: Path) -> None:
    manifest = small.write_artifact(tmp_path / "artifact", streams=True)
    following = manifest.parts["decoder_next"]
    wrong = replace(following, inputs=(following.inputs[0], replace(following.inputs[1], dtype="float32")))
    with pytest.raises(InputError, match="decoder_next does not take what decoder_first and it itself leave"):
        replace(manifest, parts={**manifest.parts, "decoder_next": wrong}).write(tmp_path / "artifact")


def test_a_refused_manifest_leaves_the_old_file(folder: Path) -> None:
    before = (folder / "manifest.json").read_bytes()
    wrong = replace(Manifest.read(folder), schedules={"2": Schedule((1.0,), (1.0,), ((1.0,),))})
    with pytest.raises(InputError, match="schedules.2 needs 2 sigmas"):
        wrong.write(folder)
    assert (folder / "manifest.json").read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
