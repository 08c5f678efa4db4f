"""`worldmodel export bench` through the command line."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_artifact as small

from worldmodel.cli.main import main
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Precision

SHORT = ["threads=1", "warmup=0", "iterations=1", "rounds=1"]
OTHER = "cd" * 32


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `wide` and `narrow`, variants of one model."""
    for name, precision in (("wide", "fp32"), ("narrow", "int8")):
        manifest = small.write_artifact(tmp_path / name)
        replace(manifest, precision=Precision("fp32", precision, "fp32")).write(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["export", "bench", *words])
    return status, *capsys.readouterr()


def ratios(raw: dict[str, Any], name: str, reference: str, part: str) -> float:
    """Again from the raw seconds, with numpy."""
    rounds = zip(raw[name], raw[reference], strict=True)
    return float(np.median([np.median(b["parts"][part]) / np.median(a["parts"][part]) for a, b in rounds]))


def test_torch_beside_onnx_runtime_and_what_is_not_there(
    artifact: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = artifact("tiny", "fp32"), tmp_path / "figures" / "tiny"
    backends = "backends=[onnxruntime,eager,tensorrt]"
    status, said, err = called([str(folder), backends, f"out={out}", *SHORT], capsys)
    assert status == 0 and err == "", err
    line, kept = json.loads(said.splitlines()[-1]), json.loads((out / "bench.json").read_text())
    assert sorted(path.name for path in out.iterdir()) == ["bench.json", "bench.md"]
    assert {key: kept[key] for key in line} == line and set(kept) - set(line) == {"raw"}
    assert (out / "bench.md").read_text().strip() in said and "not run: tensorrt fp32: " in said
    assert list(line["not_run"]) == ["tensorrt fp32"] and "tensorrt" in line["not_run"]["tensorrt fp32"].lower()
    assert [one["entry"] for one in line["entries"]] == ["onnxruntime fp32", "eager fp32"]
    assert line["reference"] == "eager fp32" and set(line["machine"]["versions"]) >= {"torch", "onnxruntime", "python"}
    for one in line["entries"]:
        assert list(one["parts"]) == ["encoder", "step", "decoder"]
        assert one["rollouts"]["frames"]["encoder_calls"] == 2 and one["rollouts"]["latents"]["encoder_calls"] == 1
        for part, found in one["parts"].items():
            assert found["speedup"] == pytest.approx(ratios(kept["raw"], one["entry"], "eager fp32", part))
        predicted = kept["raw"][one["entry"]][0]["predictions"][0]
        assert one["times_real_time"] == pytest.approx(line["chunk_seconds"] / predicted)
    assert line["entries"][0]["disk"]["all_smaller"] == 1 and line["entries"][1]["disk"] is None


def test_variants_take_turns_in_processes_of_their_own(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["wide", "narrow", "backends=[onnxruntime]", "parts=[step]", "rounds=2", "iterations=4", "threads=1"]
    status, said, err = called([*words, "end_to_end=false", "chunks=0"], capsys)
    assert status == 0, err
    turns = [line.split(": ")[1] for line in said.splitlines() if line.startswith("round ")]
    assert turns == ["onnxruntime fp32", "onnxruntime int8", "onnxruntime int8", "onnxruntime fp32"]
    kept = json.loads((place / "wide" / "bench.json").read_text())
    first, second = kept["entries"]
    assert kept["reference"] == "onnxruntime fp32" and second["precision"] == ["fp32", "int8", "fp32"]
    seconds = [one["parts"]["step"] for one in kept["raw"]["onnxruntime int8"]]
    assert np.shape(seconds) == (2, 4)
    timing = second["parts"]["step"]
    assert timing["median_ms"] == pytest.approx(1e3 * np.median(seconds))
    assert timing["p90_ms"] == pytest.approx(1e3 * np.percentile(seconds, 90))
    assert timing["speedup"] == pytest.approx(ratios(kept["raw"], "onnxruntime int8", "onnxruntime fp32", "step"))
    assert second["prediction"] is None and second["rollouts"] == {} and list(second["parts"]) == ["step"]
    assert "real time" not in said and called([*words, "rounds=1"], capsys)[0] == 0, "figures are written over"


def test_labels_of_equal_precision_are_folders(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small.write_artifact(place / "again")
    status, said, err = called(["wide", "again", "backends=[onnxruntime]", *SHORT, "out=figures"], capsys)
    assert status == 0 and "onnxruntime wide" in said and "onnxruntime again" in said, err


def test_where_nothing_runs_there_are_no_figures(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = called(["wide", "backends=[tensorrt]", "out=figures", *SHORT], capsys)
    assert status == 2 and err.startswith("error: tensorrt fp32: ") and err.count("\n") == 1
    assert not (place / "figures").exists()


REFUSED = {
    "nothing": ([], "key 'artifacts' has no value"),
    "no artifact": (["nowhere"], "nowhere: no such folder"),
    "another model": (["wide", "other"], "other: another model, size or prompt than wide; bench variants of one"),
    "another guidance": (["wide", "guided"], "guided: another model, size or prompt than wide"),
    "altered": (["wide", "altered"], "altered/decoder.onnx: altered or incomplete"),
    "twice": (["wide", "wide"], "artifacts=[wide,wide]: is given twice; give one or more different ones"),
    "no backend": (["wide", "backends=[]"], "backends=[]: is empty"),
    "unknown backend": (["wide", "backends=[jax]"], "backends=jax: choose one of eager, compile, onnxruntime"),
    "part": (["wide", "parts=[vae]"], "parts=[vae]: choose of encoder, step, decoder"),
    "steps": (["wide", "steps=7"], "steps=7: this artifact holds schedules of 2, 5; use one of them"),
    "iterations": (["wide", "iterations=0"], "iterations=0: use at least 1"),
    "rounds": (["wide", "rounds=0"], "rounds=0: use at least 1"),
    "warmup": (["wide", "warmup=-1"], "warmup=-1: use at least 0"),
    "chunks": (["wide", "chunks=-1"], "chunks=-1: use at least 0"),
    "threads": (["wide", "threads=0"], "threads=0: use at least 1"),
    "out": (["wide", "out=wide/manifest.json"], "out=wide/manifest.json: is a file; choose a folder"),
}


@pytest.mark.parametrize(("words", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_before_anything_runs(
    place: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = Manifest.read(place / "narrow")
    for name in ("other", "guided", "altered"):
        small.write_artifact(place / name)
    replace(manifest, checkpoint=replace(manifest.checkpoint, transformer_sha256=OTHER)).write(place / "other")
    replace(manifest, guidance=3.0).write(place / "guided")
    (place / "altered" / "decoder.onnx").write_bytes(b"0")
    status, out, err = called([*words, *SHORT[1:2]] if "warmup" not in said else words, capsys)
    assert (status, out, err.count("\n")) == (2, "", 1), out + err
    assert said in err and not list(place.rglob("bench.*"))


def test_no_torch_in_the_process_that_asks(place: Path) -> None:
    words = ["export", "bench", "wide", "backends=[onnxruntime]", *SHORT]
    code = f"""
import sys
import worldmodel.cli.commands.export_bench
from worldmodel.cli.main import main
status = main({words})
absent = {{"torch", "diffusers", "onnx", "onnxruntime", "hydra", "omegaconf", "jaxtyping"}}
print(status, sorted(absent & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=place, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "0 []", done.stdout + done.stderr
