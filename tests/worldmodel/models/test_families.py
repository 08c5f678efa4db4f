"""A further backbone is one record: it is then opened, saved, predicted with and counted like the others."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_family import TOY, ToyBackbone, ToyTransformer

from worldmodel.benchmarks.methods.flowframes import ModelOptions, load_flowframes
from worldmodel.errors import InputError
from worldmodel.export.graphs.families import graphs_of
from worldmodel.export.graphs.parts import BakedPrompts, Chunk
from worldmodel.flow.guidance import Prompt
from worldmodel.models.checkpoint import trained_chunk
from worldmodel.models.families import FAMILIES, Family, family_named, family_of
from worldmodel.models.open import open_backbone, open_pipeline

VIDEO = torch.rand(1, 5, 3, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    monkeypatch.setitem(FAMILIES, "toy", TOY)
    yield TOY


def test_its_networks_are_drawn_saved_and_opened(tmp_path: Path) -> None:
    drawn = open_pipeline("random toy tiny", device="cpu")
    assert isinstance(drawn.backbone, ToyBackbone) and drawn.family is TOY
    drawn.save_pretrained(tmp_path / "toy")
    drawn.set_progress_bar_config(disable=True)
    expected = drawn(VIDEO, num_inference_steps=2)
    opened = open_pipeline(tmp_path / "toy", device="cpu")
    opened.set_progress_bar_config(disable=True)
    assert torch.equal(opened(VIDEO, num_inference_steps=2).frames, expected.frames)
    assert expected.frames.shape == VIDEO.shape and expected.frames.std() > 0
    assert opened.rollout(VIDEO, 2, num_inference_steps=1).frames.shape[1] == 10
    assert trained_chunk(tmp_path / "toy", family_of(opened.backbone)) == (5, (16, 24))


def test_a_folder_of_its_networks_and_a_transformer_apart_open_too(tmp_path: Path) -> None:
    backbone = TOY.random_backbone("tiny")
    for part in ("vae", "transformer"):
        getattr(backbone, part).save_pretrained(tmp_path / "base" / part)
    other = ToyTransformer()
    other.save_pretrained(tmp_path / "trained" / "transformer")
    opened = open_backbone(tmp_path / "base", transformer=tmp_path / "trained")
    assert family_of(opened) is TOY
    assert torch.equal(opened.transformer.proj_in.weight, other.proj_in.weight)
    with pytest.raises(InputError, match="holds toy, not ltx"):
        open_backbone(tmp_path / "base", "ltx")


def test_a_benchmark_runs_it_and_names_its_licence(tmp_path: Path) -> None:
    TOY.random_backbone("tiny")
    open_pipeline("random toy tiny", device="cpu").save_pretrained(tmp_path / "toy")
    method = load_flowframes(ModelOptions(checkpoint=str(tmp_path / "toy"), steps=1, device="cpu"))
    assert (method.spec.backbone, method.spec.size, method.spec.licences.weights) == ("toy", (16, 24), "none")


def test_a_family_without_graphs_is_not_exported_and_one_with_them_is(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone, chunk = TOY.random_backbone("tiny"), Chunk(5, 16, 24, cameras=1)
    prompts = BakedPrompts.of(Prompt(*backbone.empty_prompt()), None, None, 1.0)
    with pytest.raises(InputError, match="backbone ToyBackbone: give a pipeline of LTX-Video, Wan 2.1 or tiny"):
        graphs_of(backbone, chunk, prompts)
    monkeypatch.setitem(FAMILIES, "toy", replace(TOY, onnx_parts="test_families_parts:parts"))
    with pytest.raises(ModuleNotFoundError, match="test_families_parts"):  # imported when it is asked for, not before
        graphs_of(backbone, chunk, prompts)


def test_sentences_list_what_there_is() -> None:
    with pytest.raises(InputError, match="family=cosmos: choose ltx or wan or toy"):
        family_named("cosmos")
    with pytest.raises(InputError, match="checkpoint=random toy huge: no such size; choose real, mid, tiny"):
        open_pipeline("random toy huge", device="cpu")
