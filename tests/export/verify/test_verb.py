"""`worldmodel export verify` on real artifacts: what it passes, what it fails, and what it writes."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from export_models import GUIDANCE, small_backbone, some_prompt, some_video
from onnx import numpy_helper

from worldmodel.cli.commands.export_verify import VerifyConfig, verify
from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.reference_pipeline import OriginalConfig, open_original
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import observed_frames
from worldmodel.export.verify.parity import SEED
from worldmodel.export.verify.reference import reference_of
from worldmodel.files import file_sha256
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import to_uint8

MakeArtifact = Callable[..., Path]
SavedPipeline = Callable[[str], Path]


@pytest.fixture
def copy(artifact: MakeArtifact, tmp_path: Path) -> Callable[..., Path]:
    """copy(family, precision, **keys): an artifact that may be written into."""

    def copied(*chosen: str, **keys: object) -> Path:
        return Path(shutil.copytree(artifact(*chosen, **keys), tmp_path / "artifact"))

    return copied


def prompt_of(saved_pipeline: SavedPipeline, family: str) -> str | None:
    return None if family == "tiny" else str(saved_pipeline(family) / "prompt.safetensors")


@pytest.mark.parametrize("family", ["tiny", "ltx", "wan"])
def test_the_reference_is_the_pipelines_own_prediction(
    artifact: MakeArtifact, saved_pipeline: SavedPipeline, family: str
) -> None:
    opened = Artifact.open(artifact(family, "fp32"))
    source = open_original(opened, OriginalConfig(prompt_embeds=prompt_of(saved_pipeline, family)))
    found = reference_of(source, some_video().numpy(), [5])
    pipeline, prompt = FlowFramesPipeline.from_pretrained(saved_pipeline(family)), some_prompt(small_backbone(family))
    given = {} if family == "tiny" else {"prompt_embeds": prompt.embeds_BLD, "prompt_mask": prompt.mask_BL}
    output = pipeline(some_video().permute(0, 1, 4, 2, 3), guidance_scale=GUIDANCE[family], **given)
    run = found.runs[5]
    assert torch.equal(torch.from_numpy(run.reached), output.latents) and len(run.velocities) == 5
    assert np.array_equal(run.frames, to_uint8(output.frames).permute(0, 1, 3, 4, 2).numpy())


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("family", ["tiny", "ltx", "wan"])
def test_every_family_passes(
    artifact: MakeArtifact,
    int8_artifact: MakeArtifact,
    saved_pipeline: SavedPipeline,
    drive: str,
    tmp_path: Path,
    family: str,
    precision: str,
) -> None:
    """With guidance in LTX and Wan; 8 bits on clips like those that they were calibrated on."""
    made = int8_artifact(family) if precision == "int8" else artifact(family, precision)
    folder, source = shutil.copytree(made, tmp_path / "artifact"), drive if precision == "int8" else None
    config = VerifyConfig(str(folder), source, prompt_embeds=prompt_of(saved_pipeline, family))
    comparisons = verify(config)
    assert [(one.part, one.what, one.steps) for one in comparisons if one.part != "single"] == [
        ("encoder", "latents", None),
        *((part, what, steps) for steps in (5, 10) for part, what in
          (("step", "velocity"), ("steps", "latents"), ("decoder", "frames"))),
        ("prediction", "frames", 5),
        ("prediction", "frames", 10),
    ]  # fmt: skip
    assert all(one.passed for one in comparisons)
    velocity = next(one for one in comparisons if one.what == "velocity")
    assert {"fp32": 0, "fp16": 1e-4, "int8": 1e-3}[precision] < velocity.relative <= velocity.limit


def test_what_it_writes(copy: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = copy("tiny", "fp16")
    assert main(["export", "verify", str(folder), "steps=[10]"]) == 0
    said, parity = capsys.readouterr().out, json.loads((folder / "parity.json").read_text())
    assert parity["passed"] and parity["manifest_sha256"] == file_sha256(folder / "manifest.json")
    text = (folder / "parity.md").read_text()
    assert text.strip() in said and "| prediction | frames | 10 | fp16 |" in text
    last = json.loads(said.splitlines()[-1])
    assert last["passed"] and last["relative"]["step velocity"] <= 2e-3
    with Predictor.open(folder) as predictor:
        pixels = predictor.predict(observed_frames(SEED, predictor.artifact.manifest.video_shape), 10)
    assert parity["pixels_sha256"] == {"10": [hashlib.sha256(pixels.tobytes()).hexdigest()]}
    assert last["psnr"]["10"] is None or last["psnr"]["10"] >= 40


def test_one_file_with_a_loop_and_a_streaming_decoder_are_compared_too(
    copy: Callable[..., Path], artifact: MakeArtifact, saved_pipeline: SavedPipeline, tmp_path: Path
) -> None:
    single = verify(VerifyConfig(str(copy("tiny", "fp32", single_file=True)), steps=(5,)))
    assert single[-1].part == "single" and single[-1].passed
    stream = shutil.copytree(artifact("wan", "fp32", wan_decoder="stream"), tmp_path / "stream")
    prompt = prompt_of(saved_pipeline, "wan")
    assert all(one.passed for one in verify(VerifyConfig(str(stream), steps=(5,), prompt_embeds=prompt)))


def spoil(folder: Path, part: str, factor: float) -> None:
    """One matrix of a part is scaled, and the manifest knows the new file."""
    model = onnx.load(str(folder / f"{part}.onnx"))
    weight = max(model.graph.initializer, key=lambda one: np.prod(one.dims))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(factor), weight.name))
    onnx.save(model, str(folder / f"{part}.onnx"))
    manifest = Manifest.read(folder)
    files = manifest.files | {f"{part}.onnx": file_sha256(folder / f"{part}.onnx")}
    replace(manifest, files=files).write(folder)


@pytest.mark.parametrize("part", ["encoder", "step", "decoder"])
def test_a_part_that_computes_something_else_fails(
    copy: Callable[..., Path], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy("tiny", "fp32")
    spoil(folder, part, 1.02)
    assert main(["export", "verify", str(folder), "steps=[5]"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"does not compute what its pipeline does: {part} " in said
    parity = json.loads((folder / "parity.json").read_text())
    failed = {one["part"] for one in parity["comparisons"] if not one["passed"]}
    assert not parity["passed"] and part in failed and not {"encoder", "step", "decoder"} & (failed - {part})


def test_a_transformer_that_was_moved_is_found(
    copy: Callable[..., Path], saved_pipeline: SavedPipeline, tmp_path: Path
) -> None:
    shutil.copytree(saved_pipeline("tiny") / "transformer", tmp_path / "here")
    config = VerifyConfig(str(copy("tiny", "fp32", transformer=str(tmp_path / "here"))), steps=(5,))
    (tmp_path / "here").rename(tmp_path / "there")
    with pytest.raises(InputError, match="here: no config.json in it"):
        verify(config)
    assert all(one.passed for one in verify(replace(config, transformer=str(tmp_path / "there"))))


BAD = {
    "other weights": ({"checkpoint": "tiny", "prompt_embeds": None}, "checkpoint=tiny: its transformer is not the one"),
    "no checkpoint": ({"checkpoint": "nothing"}, "checkpoint=nothing"),
    "no prompt": ({"prompt_embeds": None}, "another prompt is baked in; give the prompt_embeds"),
    "steps": ({"steps": (7,)}, "steps=7: this artifact holds schedules of 5, 10"),
    "steps twice": ({"steps": (5, 5)}, "each number of steps once"),
    "samples": ({"samples": 0}, "samples=0: use at least 1"),
    "source": ({"source": "nowhere"}, "nowhere"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_compared(copy: Callable[..., Path], saved_pipeline: SavedPipeline, case: str) -> None:
    keys, said = BAD[case]
    folder = copy("ltx", "fp32")
    with pytest.raises(InputError, match=said):
        verify(VerifyConfig(**({"artifact": str(folder), "prompt_embeds": prompt_of(saved_pipeline, "ltx")} | keys)))
    assert not (folder / "parity.json").exists()
