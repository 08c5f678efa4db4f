"""Whole artifacts against the pipelines that they were exported from, run by ONNX Runtime."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from export_models import (
    CHUNK,
    FAMILIES,
    GUIDANCE,
    baked,
    relative,
    small_backbone,
    some_latents,
    some_prompt,
    some_video,
)
from safetensors.torch import save_file

from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.config import ExportConfig
from worldmodel.export.exporting import export, precisions
from worldmodel.export.graphs.families import Graph, graphs_of
from worldmodel.export.graphs.parts import BakedPrompts
from worldmodel.export.graphs.prompt import prompt_hash
from worldmodel.export.onnx_files import export_onnx
from worldmodel.export.precision import cast
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Part
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.sessions import open_session
from worldmodel.export.sampling import follow, linear_schedule
from worldmodel.files import file_sha256
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.pixels import to_uint8

MakeArtifact = Callable[..., Path]
MakeConfig = Callable[..., ExportConfig]
backbone_of = cache(small_backbone)


def run(folder: Path, part: str, *inputs: torch.Tensor) -> torch.Tensor:
    """One part of an artifact."""
    ports = Manifest.read(folder).parts[part]
    session = open_session(folder / ports.file)
    feed = {port.name: one.numpy() for port, one in zip(ports.inputs, inputs, strict=True)}
    return torch.from_numpy(session.run(None, feed)[0])


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_each_graph_is_the_module_in_float32(artifact: MakeArtifact, family: str) -> None:
    backbone, folder = backbone_of(family), artifact(family, "fp32")
    graphs = {name: graph.make() for name, graph in graphs_of(backbone, CHUNK, baked(backbone, family)).items()}
    video, latents, sigma = some_video(), some_latents(backbone), torch.tensor([0.7])
    assert relative(run(folder, "encoder", video), graphs["encoder"](video)) <= 1e-5
    assert relative(run(folder, "step", latents, sigma), graphs["step"](latents, sigma)) <= 1e-5
    found, expected = run(folder, "decoder", latents), graphs["decoder"](latents)
    assert (found.int() - expected.int()).abs().max() <= 1 and (found != expected).float().mean() < 1e-3


def export_part(folder: Path, name: str, graph: Graph, dtype: torch.dtype) -> Part:
    """One graph alone."""
    module = cast(graph.make(), dtype)
    path = folder / f"{name}.onnx"
    return export_onnx(module, graph.examples(module), path, module.input_names, module.output_names)


@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES)
def test_half_precision_stays_near(tmp_path: Path, family: str) -> None:
    backbone = backbone_of(family)
    graph = graphs_of(backbone, CHUNK, BakedPrompts((some_prompt(backbone),)))["step"]
    export_part(tmp_path, "step", graph, torch.float16)
    session = open_session(tmp_path / "step.onnx")

    def halved(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"latents": x.numpy(), "sigma": sigma.numpy()})[0])

    step, latents, sigma = graph.make(), some_latents(backbone), torch.tensor([0.7])
    assert 1e-5 < relative(halved(latents, sigma), step(latents, sigma)) <= 2e-3
    schedule = linear_schedule(backbone.default_scheduler(), 5)
    assert relative(follow(halved, latents, schedule)[-1], follow(step, latents, schedule)[-1]) <= 5e-3


@pytest.mark.slow
def test_wan_has_a_bf16_graph(tmp_path: Path) -> None:
    backbone = backbone_of("wan")
    part = export_part(tmp_path, "step", graphs_of(backbone, CHUNK, baked(backbone, "wan"))["step"], torch.bfloat16)
    weights = onnx.load(tmp_path / part.file).graph.initializer
    kinds = {one.data_type for one in weights if one.name.endswith("attn1.to_k.bias")}
    assert kinds == {onnx.TensorProto.BFLOAT16}
    assert {port.dtype for port in (*part.inputs, *part.outputs)} == {"float32"}


@pytest.mark.parametrize("steps", [5, 10])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_prediction_is_that_of_the_pipeline(
    artifact: MakeArtifact, saved_pipeline: Callable[[str], Path], family: str, steps: int
) -> None:
    video, prompt = some_video(), some_prompt(backbone_of(family))
    given = {} if family == "tiny" else {"prompt_embeds": prompt.embeds_BLD, "prompt_mask": prompt.mask_BL}
    pipeline = FlowFramesPipeline.from_pretrained(saved_pipeline(family))
    output = pipeline(video.permute(0, 1, 4, 2, 3), num_inference_steps=steps, guidance_scale=GUIDANCE[family], **given)
    expected = to_uint8(output.frames).permute(0, 1, 3, 4, 2).numpy()
    with Predictor.open(artifact(family, "fp32")) as predictor:
        found = predictor.predict(video.numpy(), steps)
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and difference.mean() < 2e-3


@pytest.mark.parametrize("family", ["ltx", "wan"])
def test_published_conventions_are_baked_in(
    artifact: MakeArtifact, saved_pipeline: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory, family: str
) -> None:
    backbone, video = backbone_of(family), some_video()
    prompt, negative = some_prompt(backbone), some_prompt(backbone, seed=1)
    path = tmp_path_factory.mktemp("prompt") / "negative.safetensors"
    save_file({"embeds": negative.embeds_BLD, "mask": negative.mask_BL}, path)
    folder = artifact(family, "fp32", conventions="published", negative_prompt_embeds=str(path), steps=(5,))
    pipeline = FlowFramesPipeline.from_pretrained(saved_pipeline(family), conventions="published")
    output = pipeline(
        video.permute(0, 1, 4, 2, 3), guidance_scale=GUIDANCE[family], prompt_embeds=prompt.embeds_BLD,
        prompt_mask=prompt.mask_BL, negative_prompt_embeds=negative.embeds_BLD, negative_prompt_mask=negative.mask_BL,
        vae_batch_size=None,
    )  # fmt: skip
    expected = to_uint8(output.frames).permute(0, 1, 3, 4, 2).numpy()
    with Predictor.open(folder) as predictor:
        assert predictor.artifact.manifest.conventions == "published"
        found = predictor.predict(video.numpy())
    difference = np.abs(found.astype(int) - expected)
    assert difference.max() <= 1 and difference.mean() < 2e-3


def test_published_conventions_without_their_negative_prompt_are_refused(export_config: MakeConfig) -> None:
    with pytest.raises(InputError, match="conventions=published guides away from a negative prompt"):
        export(export_config("ltx", "fp32", conventions="published"))


def test_a_noise_conditioned_checkpoint_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["export", "checkpoint=tiny_noise_conditioned", f"out={tmp_path / 'out'}"])
    said = capsys.readouterr()
    assert (status, said.out, said.err.count("\n")) == (2, "", 1), said
    assert said.err.startswith("error: checkpoint=tiny_noise_conditioned: is noise-conditioned (it starts from noise")
    assert "export a FlowFrames checkpoint, such as tiny, or run this one by `worldmodel predict`" in said.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_manifest_says_what_was_exported(artifact: MakeArtifact, family: str) -> None:
    folder, backbone = artifact(family, "fp32"), backbone_of(family)
    manifest = Manifest.read(folder)
    assert (manifest.family, manifest.guidance) == (family, GUIDANCE[family])
    assert manifest.video_shape == tuple(some_video().shape)
    assert manifest.latents == tuple(some_latents(backbone).shape[1:])
    assert list(manifest.schedules) == ["5", "10"] and manifest.default_steps == 5
    assert manifest.checkpoint.prompt_sha256 == prompt_hash(baked(backbone, family).prompts)
    assert {path.name for path in folder.iterdir()} == {*manifest.files, "manifest.json"}
    assert manifest.self_test is not None and manifest.self_test.steps == 5


def test_a_self_test_repeats_exactly_here(artifact: MakeArtifact) -> None:
    with Predictor.open(artifact("tiny", "fp32")) as predictor:
        result = predictor.self_test()
    assert result.exact and result.passed


@torch.no_grad()
def test_the_streaming_pair_gives_the_frames_of_the_whole_sequence(artifact: MakeArtifact, tmp_path: Path) -> None:
    backbone, video, whole = backbone_of("wan"), some_video().numpy(), artifact("wan", "fp32")
    graphs = graphs_of(backbone, CHUNK, baked(backbone, "wan"), stream=True)
    pair = {
        name: export_part(tmp_path, name, graphs[name], torch.float32) for name in ("decoder_first", "decoder_next")
    }
    for name in ("encoder.onnx", "step.onnx"):
        shutil.copy(whole / name, tmp_path)
    manifest = Manifest.read(whole)
    kept = {name: manifest.parts[name] for name in ("encoder", "step")}
    files = {path.name: file_sha256(path) for path in tmp_path.iterdir()}
    replace(manifest, parts=kept | pair, files=files, self_test=None).write(tmp_path)
    with Predictor.open(tmp_path) as streaming, Predictor.open(whole) as at_once:
        difference = np.abs(streaming.predict(video).astype(int) - at_once.predict(video))
        assert streaming.calls == {"encoder": 1, "step": 5, "decoder_first": 1, "decoder_next": 2}
    assert difference.max() <= 1 and difference.mean() < 2e-3


def test_a_prompt_of_its_own_changes_the_hash(saved_pipeline: Callable[[str], Path]) -> None:
    backbone = backbone_of("ltx")
    assert prompt_hash(baked(backbone, "ltx").prompts) != prompt_hash(baked(backbone, "ltx").prompts[1:])


def test_precision_by_part() -> None:
    of = precisions
    assert list(vars(of(ExportConfig(precision="bf16"))).values()) == ["fp16", "bf16", "fp16"]
    assert list(vars(of(ExportConfig(precision="int8"))).values()) == ["fp16", "int8", "fp16"]
    mixed = of(ExportConfig(precision="fp16", decoder_precision="fp32"))
    assert list(vars(mixed).values()) == ["fp16", "fp16", "fp32"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "steps": ({"steps": (5, 5)}, "name each number of steps once"),
    "no steps": ({"steps": ()}, r"steps=\[\]: give at least one"),
    "target": (
        {"precision": "fp8", "target": "orin", "checkpoint": "nothing"},
        r"Jetson AGX Orin .* does not compute in fp8, which the step uses; export with precision=int8 or fp16",
    ),
    "bf16": ({"precision": "bf16", "target": "orin"}, "does not compute in bf16"),
    "smoothing": ({"precision": "int8", "smoothing": 1.5}, "smoothing=1.5: use a number from 0"),
    "rounding": ({"precision": "int8", "rounding": -1.0}, "rounding=-1.0: use a number above 0"),
    "calibration": ({"precision": "int8"}, "give calibration=DRIVE"),
    "cameras": ({"cameras": 0}, "cameras=0: use at least 1"),
    "size": ({"height": 30}, "height 30: this backbone needs a multiple of"),
    "frame rate": ({"frame_rate": 0.0}, "frame_rate=0.0"),
    "single stream": ({"single_file": True, "wan_decoder": "stream"}, "one file holds one decoder"),
    "single dynamic": ({"single_file": True, "dynamic": True}, "its loop has one size"),
    "stream of tiny": ({"wan_decoder": "stream"}, "it is for Wan"),
    "prompt": ({"prompt_embeds": "missing.safetensors"}, "missing.safetensors"),
    "checkpoint": ({"checkpoint": "nothing"}, "checkpoint=nothing"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_exported_leaves_nothing(export_config: MakeConfig, tmp_path: Path, case: str) -> None:
    keys, said = BAD[case]
    with pytest.raises(InputError, match=said):
        export(export_config("tiny", **({"precision": "fp32", "out": str(tmp_path / "out")} | keys)))
    assert not list(tmp_path.iterdir())


def test_an_earlier_artifact_and_a_strange_folder_stay(
    export_config: MakeConfig, artifact: MakeArtifact, tmp_path: Path
) -> None:
    there = artifact("tiny", "fp32")
    with pytest.raises(InputError, match="say overwrite=true"):
        export(export_config("tiny", "fp32", out=str(there)))
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(InputError, match="is no earlier artifact"):
        export(export_config("tiny", "fp32", out=str(tmp_path), overwrite=True))
    Manifest.read(there)


@pytest.mark.slow
def test_bf16_is_written_without_a_self_test(
    export_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = export(export_config("tiny", "bf16", out=str(tmp_path / "out"), steps=(2,)))
    said = capsys.readouterr().out
    assert manifest.self_test is None and "no self test: ONNX Runtime's CPU has no bf16" in said
    last = json.loads(said.splitlines()[-1])
    assert last["precision"] == ["fp16", "bf16", "fp16"] and last["self_test"] is False


@torch.no_grad()
def test_int8_is_calibrated_by_a_drive(int8_artifact: Callable[[str], Path]) -> None:
    backbone, folder = backbone_of("tiny"), int8_artifact("tiny")
    manifest = Manifest.read(folder)
    assert list(vars(manifest.precision).values()) == ["fp16", "int8", "fp16"]
    assert {"ranges.json", "calibration.json"} < set(manifest.files)
    assert list(manifest.parts) == ["encoder", "step", "decoder", "single"]
    ranges = json.loads((folder / "ranges.json").read_text())
    assert set(ranges) == {"encoder", "step", "decoder"}
    assert ranges["step"]["network.transformer_blocks.1.attn1.to_q"]["input"] > 0
    step = graphs_of(backbone, CHUNK, baked(backbone, "tiny"))["step"].make()
    latents, sigma = run(folder, "encoder", some_video(seed=7)), torch.tensor([0.7])  # as noisy as the drive
    assert 1e-4 < relative(run(folder, "step", latents, sigma), step(latents, sigma)) <= 3e-2


@pytest.mark.slow
def test_half_precision_keeps_what_a_drive_makes_too_large(
    export_config: MakeConfig, drive: str, tmp_path: Path
) -> None:
    pipeline = FlowFramesPipeline.from_pretrained(export_config("tiny", "fp16").checkpoint)
    loud = pipeline.transformer.transformer_blocks[0].ff.net
    loud[0].proj.weight.data *= 1e6
    loud[2].weight.data *= 1e-6
    pipeline.save_pretrained(tmp_path / "loud")
    keys = {"checkpoint": str(tmp_path / "loud"), "calibration": drive, "calibration_batches": 1, "steps": (1,)}
    manifest = export(export_config("tiny", "fp16", out=str(tmp_path / "kept"), **keys))
    assert manifest.self_test is not None, "its numbers stayed finite"
    ranges = json.loads((tmp_path / "kept" / "ranges.json").read_text())["step"]
    assert [name for name, found in ranges.items() if max(found.values()) > 3e4] == [
        "network.transformer_blocks.0.ff.net.0.proj",
        "network.transformer_blocks.0.ff.net.2",
    ]
