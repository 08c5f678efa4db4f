"""Training by the conventions of the published code: its own numbers, captions in the cache, exact resume."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from golden_numbers import Golden
from killed_runs import differences, run_killed, run_through
from safetensors import safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

from worldmodel.backbones.ltx import official as ltx_official
from worldmodel.backbones.ltx.backbone import LTXBackbone
from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
from worldmodel.cli.commands.cache_build import CacheBuildConfig, build_cache
from worldmodel.conventions import PAPER, PUBLISHED
from worldmodel.datasets.pairs import Batch, LatentPair
from worldmodel.errors import InputError
from worldmodel.models.families import WAN
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.training import DataConfig, OptimizerConfig, TrainConfig, ValidationConfig, train
from worldmodel.training.captions import CaptionEncoder
from worldmodel.training.checkpoints import checkpoints_of
from worldmodel.training.chunks import Pool
from worldmodel.training.data import open_pairs, samples
from worldmodel.training.latent_cache import LatentCache, shard_file, write_shards
from worldmodel.training.latents import LatentEncoder
from worldmodel.training.objectives import FlowFramesObjective
from worldmodel.training.order import Draws, SampleOrder, ShareOfOrder

pytestmark = pytest.mark.slow


class Stored(Draws):
    """What the published code drew."""

    def __init__(self, case: str, given: dict[str, Tensor], coin: float) -> None:
        rows = len(given["mean0"])
        super().__init__(range(rows), coins_B=[coin] * rows)
        self.case, self.given = case, given

    def normal(self) -> Tensor:
        return self.given[f"{self.case}_sigma_normal"].flatten()

    def target_normal_like(self, tensor: Tensor) -> Tensor:
        return self.given[f"{self.case}_x1_noise"].to(tensor)


def published_batch(given: dict[str, Tensor]) -> Batch:
    """The stored posteriors, inverted chunk and prompts as the latent cache gives them: latents normalised."""
    mean, std = (given[name].view(1, -1, 1, 1, 1) for name in ("mean_of_means", "std_of_means"))
    shape = given["mean0"].shape
    latents = LatentPair(
        mean=torch.stack([(given[name] - mean) / std for name in ("mean0", "mean1")], dim=1),
        std=torch.exp(0.5 * given["logvar0"]) / std,
        future_std=torch.exp(0.5 * given["logvar1"]) / std,
        noise=given["xhat1_packed"].transpose(1, 2).reshape(shape),
        prompt=given["prompt_embeds"],
        prompt_mask=given["prompt_mask"],
    )
    return Batch(latents=latents, frame_rates=(12.0,) * shape[0])


def published_objective(case: Golden, transformer: Golden, folder: Path) -> FlowFramesObjective:
    path = folder / f"{transformer.name}.safetensors"
    save_file(transformer.weights(), path, metadata={"config": json.dumps({"transformer": transformer.config})})
    vae = tiny_vae(base_channels=4, latent_channels=128, spatial=32, temporal=8)
    vae.latents_mean.copy_(case.tensors["mean_of_means"])
    vae.latents_std.copy_(case.tensors["std_of_means"])
    backbone = LTXBackbone(vae, ltx_official.load_transformer(path))
    settings = TrainConfig(DataConfig("unused"), conventions="published", rho=case.spec["rho"], precision="no")
    return FlowFramesObjective(backbone, settings)


def largest(ours: Tensor, theirs: Tensor) -> float:
    return float((ours - theirs).abs().max())


def test_a_step_is_the_published_one(golden: Callable[[str], list[Golden]], tmp_path: Path) -> None:
    for case in golden("flowc2s_train"):
        objective = published_objective(case, golden(case.spec["transformer"])[0], tmp_path)
        batch, given = published_batch(case.tensors), case.tensors
        for name, said in case.spec["cases"].items():
            draws = Stored(name, given, said["coin"])
            at = objective.path_sample(batch.latents, draws)
            assert largest(at.sigma, given[f"{name}_sigma"]) < 1e-6
            assert largest(at.x_sigma, given[f"{name}_x_sigma"]) < 2e-5
            assert largest(at.velocity, given[f"{name}_target"]) < 2e-5
            fed = (1000 * at.sigma).floor().long()
            assert torch.equal(fed, given[f"{name}_timestep"].flatten())
            objective.zero_grad()
            loss = objective(batch, draws)["loss"]
            loss.backward()
            norm = torch.nn.utils.get_total_norm([one.grad for one in objective.parameters() if one.grad is not None])
            print(f"\n{case.name} {name}: loss {float(loss.detach()):.6f}, gradient {float(norm):.6f}")
            assert float(loss.detach()) == pytest.approx(said["loss"], rel=1e-5)
            assert float(norm) == pytest.approx(said["gradient_norm"], rel=1e-4)


def test_by_the_papers_conventions_the_same_step_is_another(golden, tmp_path: Path) -> None:
    case = golden("flowc2s_train")[0]
    theirs = published_objective(case, golden(case.spec["transformer"])[0], tmp_path)
    ours = FlowFramesObjective(theirs.backbone, replace(theirs.config, conventions="paper"))
    batch = replace(published_batch(case.tensors), seeds=(0, 1, 2))
    loss = float(ours(batch, Stored("mixed", case.tensors, 0.3))["loss"])
    assert abs(loss - case.spec["cases"]["mixed"]["loss"]) > 0.05


def write_film(path: Path, frames: int) -> None:
    """A drifting pattern, another for each name."""
    rows, columns = np.mgrid[:64, :96]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            wave = 127 + 100 * np.sin((columns + 2 * number + len(path.stem)) / 9) * np.cos((rows - number) / 7)
            picture = np.repeat(wave[..., None], 3, axis=2).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def new_pipeline(folder: Path, reads: bool, seed: int = 0) -> str:
    """An untrained model of the LTX classes, with a real text encoder where it `reads`."""
    torch.manual_seed(seed)
    vae = tiny_vae(base_channels=8, latent_channels=8, spatial=16, temporal=4)
    with torch.no_grad():
        vae.encoder.conv_out.conv.bias[-1] = -4.0
    backbone = tiny_backbone(vae, tiny_transformer(8, layers=1, heads=2, head_dim=16, caption_channels=8))
    words = ["<pad>", "</s>", "<unk>", "a", "car", "turns", "left", "rain"]
    text = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    text.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=text, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    sizes = T5Config(vocab_size=8, d_model=8, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    encoder = (T5EncoderModel(sizes).eval(), tokenizer) if reads else (None, None)
    FlowFramesPipeline.from_backbone(backbone, None, *encoder).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A run of some steps on three captioned videos, not yet started."""
    place = tmp_path_factory.mktemp("published")
    captions = {"one": "a car turns left", "three": "rain", "seventh": ""}
    for name in captions:
        write_film(place / f"{name}.mp4", 16)
    rows = [f"{name}.mp4,{caption}" for name, caption in captions.items()]
    (place / "list.csv").write_text("\n".join(["video,caption", *rows]) + "\n")
    data = DataConfig(
        videos=str(place / "list.csv"), size=(64, 96), frames=(5,), stride=2, store=str(place / "store"), workers=0
    )
    return TrainConfig(
        data, out=str(place / "run"), pretrained=new_pipeline(place / "model", reads=True), conventions="published",
        optimizer=OptimizerConfig(lr=2e-3, warmup=1, ema=0.5), inversion_steps=2, steps=4, batch_size=4, accumulate=2,
        precision="no", save_every=2, log_every=1, trackers=(), device="cpu",
    )  # fmt: skip


def losses(run: TrainConfig) -> list[float]:
    return [json.loads(line)["loss"] for line in (Path(run.out) / "log.jsonl").read_text().splitlines()]


def cache_of(run: TrainConfig) -> LatentCache:
    (folder,) = Path(run.data.store or "").glob("latents-*-published-captions-*")
    return LatentCache(folder)


def test_a_run_says_its_conventions_everywhere(settings: TrainConfig, tmp_path: Path) -> None:
    run = replace(settings, out=str(tmp_path / "run"), optimizer=OptimizerConfig(lr=1e-3))
    folder = train(run)
    said = json.loads((tmp_path / "run/config.json").read_text())
    assert (said["conventions"], said["optimizer"]["weight_decay"], said["optimizer"]["warmup"]) == (
        "published",
        1e-4,
        30,
    )
    state = json.loads((checkpoints_of(tmp_path / "run")[-1] / "state.json").read_text())
    assert state["fingerprint"]["conventions"] == "published"
    assert FlowFramesPipeline.from_pretrained(folder).conventions is PUBLISHED
    paper = replace(run, conventions="paper", steps=1, out=str(tmp_path / "paper"))
    assert FlowFramesPipeline.from_pretrained(train(paper)).conventions is PAPER
    said = json.loads((tmp_path / "paper/config.json").read_text())["optimizer"]
    assert (said["weight_decay"], said["warmup"]) == (0.01, 50)
    with pytest.raises(InputError, match="conventions was published, is paper"):
        train(replace(run, conventions="paper", resume=True))


def test_the_cache_holds_both_deviations_and_each_caption_once(settings: TrainConfig, tmp_path: Path) -> None:
    run = replace(settings, data=replace(settings.data, store=str(tmp_path)))
    (folder,) = build_cache(CacheBuildConfig(**{each.name: getattr(run, each.name) for each in fields(run)}))
    cache = LatentCache(folder)
    assert len(cache) == 3 * 4 and cache.card.conventions == "published" and len(cache.card.captions) == 64
    with safe_open(shard_file(folder, 0), "pt") as shard:
        assert shard.get_slice("prompts").get_shape()[0] == 3
    pipeline = FlowFramesPipeline.from_pretrained(run.pretrained)
    prompt = pipeline.embed(["a car turns left", "rain", ""])
    for number in (0, 3, 4, 11):
        sample = cache[number]
        torch.testing.assert_close(sample.prompt.float(), prompt.embeds_BLD[number // 4], rtol=2e-3, atol=2e-3)
        assert torch.equal(sample.prompt_mask.float(), prompt.mask_BL[number // 4])
        assert sample.future_std.shape == sample.std.shape and not torch.equal(sample.future_std, sample.std)
    before = shard_file(folder, 0).read_bytes()
    shard_file(folder, 0).unlink()
    build_cache(CacheBuildConfig(**{each.name: getattr(run, each.name) for each in fields(run)}))
    assert shard_file(folder, 0).read_bytes() == before


@pytest.mark.parametrize("change", ["conventions", "captions"])
def test_a_cache_of_other_conventions_or_captions_is_refused(
    settings: TrainConfig, tmp_path: Path, change: str
) -> None:
    pipeline = FlowFramesPipeline.from_pretrained(settings.pretrained, conventions="published")
    pairs = open_pairs(settings.data, 5, tmp_path, captioned=True)
    captions = CaptionEncoder(pipeline, torch.device("cpu"))
    write_shards(tmp_path / "cache", pairs, LatentEncoder(pipeline.backbone, 0, "no", captions))
    if change == "conventions":
        pipeline = FlowFramesPipeline.from_pretrained(settings.pretrained, conventions="paper")
    else:
        captions.text_encoder.get_input_embeddings().weight.data.add_(1)
        captions = CaptionEncoder(pipeline, torch.device("cpu"))
    with pytest.raises(InputError, match=f"a latent cache made with other {change}; choose another"):
        write_shards(tmp_path / "cache", pairs, LatentEncoder(pipeline.backbone, 0, "no", captions))


def test_a_given_cache_of_another_text_encoder_is_refused(settings: TrainConfig, tmp_path: Path) -> None:
    pipeline = FlowFramesPipeline.from_pretrained(settings.pretrained, conventions="published")
    pairs = open_pairs(settings.data, 5, tmp_path, captioned=True)
    encoder = LatentEncoder(pipeline.backbone, 0, "no", CaptionEncoder(pipeline, torch.device("cpu")))
    write_shards(tmp_path / "cache", pairs, encoder)
    given = replace(settings, data=DataConfig(latents=str(tmp_path / "cache"), size=(64, 96), frames=(5,)))
    assert len(samples(given, encoder, Accelerator(cpu=True))[0]) == len(pairs)
    pipeline.text_encoder.get_input_embeddings().weight.data.add_(1)
    encoder = LatentEncoder(pipeline.backbone, 0, "no", CaptionEncoder(pipeline, torch.device("cpu")))
    with pytest.raises(InputError, match="cache: made with another text encoder, "):
        samples(given, encoder, Accelerator(cpu=True))


def test_a_run_goes_on_where_its_transformer_was_moved(settings: TrainConfig, tmp_path: Path) -> None:
    shutil.copytree(f"{settings.pretrained}/transformer", tmp_path / "here")
    run = replace(settings, out=str(tmp_path / "run"), transformer=str(tmp_path / "here"), steps=1)
    train(run)
    (tmp_path / "here").rename(tmp_path / "there")
    train(replace(run, transformer=str(tmp_path / "there"), resume=True))
    assert len(losses(run)) == 1


def test_straight_from_frames_it_is_the_same_up_to_float16(settings: TrainConfig, tmp_path: Path) -> None:
    cached = replace(settings, out=str(tmp_path / "cached"), steps=3)
    train(cached)
    direct = replace(cached, out=str(tmp_path / "direct"), data=replace(settings.data, latent_cache=False))
    train(direct)
    assert losses(direct) == pytest.approx(losses(cached), rel=2e-3)
    mute = tmp_path / "mute.csv"  # captions count: the same videos without
    mute.write_text("video\none.mp4\nthree.mp4\nseventh.mp4\n")
    data = replace(direct.data, videos=str(mute), video_folders=(str(Path(settings.data.videos or "").parent),))
    train(replace(direct, out=str(tmp_path / "mute"), data=data))
    assert losses(replace(direct, out=str(tmp_path / "mute")))[0] != pytest.approx(losses(direct)[0], rel=1e-6)


@pytest.mark.parametrize("cached", [True, False])
def test_a_resumed_run_is_the_undisturbed_one(settings: TrainConfig, tmp_path: Path, cached: bool) -> None:
    whole = replace(settings, out=str(tmp_path / "whole"), data=replace(settings.data, latent_cache=cached))
    broken = replace(whole, out=str(tmp_path / "broken"))
    train(whole)
    train(broken)
    shutil.rmtree(checkpoints_of(tmp_path / "broken")[-1])
    train(replace(broken, resume=True))
    assert differences(tmp_path / "whole", tmp_path / "broken") == []


def test_a_run_of_two_processes_that_is_killed_is_the_undisturbed_one(settings: TrainConfig, tmp_path: Path) -> None:
    whole = replace(settings, out=str(tmp_path / "whole"), batch_size=2, save_every=1, steps=8)
    broken = replace(whole, out=str(tmp_path / "broken"))
    assert run_through(whole, 2)
    assert run_killed(broken, kills=2, seed=3, processes=2).kills
    assert differences(tmp_path / "whole", tmp_path / "broken") == []
    alone = replace(whole, out=str(tmp_path / "alone"), batch_size=4)
    train(alone)  # the same coins, targets and sigmas, whoever takes them
    assert losses(alone) == pytest.approx(losses(whole), rel=1e-4)
    with pytest.raises(InputError, match="accumulate was 2, is 1"):  # a coin is a micro-batch's
        train(replace(alone, resume=True, accumulate=1, batch_size=8))


def test_a_pair_keeps_its_targets_noise_and_a_micro_batch_its_coin() -> None:
    order = SampleOrder([6, 5], 4, seed=1)
    seen: dict[int, list[int]] = {}
    pool = Pool([[torch.tensor(number) for number in range(size)] for size in (6, 5)])
    for step in range(8):
        parts = [list(ShareOfOrder(order, step, step + 1, 2, rank, 2)) for rank in range(2)]
        coins = [{place.coin for part in parts for place in part[batch]} for batch in range(2)]
        assert [len(each) for each in coins] == [1, 1] and coins[0] != coins[1]
        for place in (place for part in parts for batch in part for place in batch):
            sample = pool[place]
            seen.setdefault(sample.number, []).append((place.group, int(sample.content)))
    assert all(len(set(places)) == 1 for places in seen.values()) and len(seen) > 8


def test_a_caption_without_a_text_encoder_is_one_sentence(settings: TrainConfig, tmp_path: Path) -> None:
    mute = replace(settings, out=str(tmp_path / "run"), pretrained=new_pipeline(tmp_path / "mute", reads=False))
    with pytest.raises(InputError, match="trains on captions and pretrained has no text encoder: give a folder"):
        train(mute)


def test_validation_predicts_by_captions_and_changes_nothing(settings: TrainConfig, tmp_path: Path) -> None:
    checked = ValidationConfig(every=2, videos=settings.data.videos, pairs=1, evaluations=2)
    plain, watched = (replace(settings, out=str(tmp_path / name), steps=2) for name in ("plain", "watched"))
    train(plain)
    train(replace(watched, validation=checked))
    lines = [json.loads(line) for line in (tmp_path / "watched/log.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in lines if "loss" in line] == losses(plain)
    assert any("validation_psnr_db" in line for line in lines)


def test_wan_is_fed_whole_timesteps_and_captions_without_a_mask() -> None:
    backbone = WAN.random_backbone("tiny")
    shape = (2, backbone.geometry.channels, 2, 4, 4)
    generator = torch.Generator().manual_seed(0)
    parts = {name: torch.rand(shape, generator=generator) for name in ("std", "future_std", "noise")}
    means = torch.randn(2, 2, *shape[1:], generator=generator)
    prompt = torch.randn(2, 3, backbone.transformer.config.text_dim, generator=generator)
    latents = LatentPair(mean=means, prompt=prompt, **parts)
    batch = Batch(latents=latents, seeds=(1, 2), numbers=(0, 5), coins=(0.2, 0.2), frame_rates=(12.0, 12.0))
    settings = TrainConfig(DataConfig("unused"), conventions="published", sigma_shift=0.0)
    objective = FlowFramesObjective(backbone, settings)
    at = objective.path_sample(latents, objective.draws_of(batch))
    mean, std = backbone.latent_statistics()
    drawn = Draws([4324421, 4324426]).normal_like(latents.std)
    target = latents.mean[:, 1] + latents.future_std * drawn
    source = latents.mean[:, 0] + latents.std * (latents.noise * std + mean)
    torch.testing.assert_close(at.velocity, source - target)
    assert torch.equal(at.sigma, torch.cat([torch.sigmoid(row) for row in Draws([1, 2]).normal().split(1)]))
    velocity = backbone.velocity(at.x_sigma, at.sigma, prompt, whole_timesteps=True)
    loss = objective(batch)["loss"]
    torch.testing.assert_close(loss, (velocity - at.velocity).square().mean())
    exact = backbone.velocity(at.x_sigma, at.sigma, prompt)
    assert not torch.equal(velocity, exact)


def test_mixing_finds_wans_statistics_where_the_latents_are() -> None:
    backbone = WAN.random_backbone("tiny")
    shape = (2, backbone.geometry.channels, 2, 4, 4)
    parts = {name: torch.zeros(shape, device="meta") for name in ("std", "future_std", "noise")}
    elsewhere = LatentPair(mean=torch.zeros(2, 2, *shape[1:], device="meta"), **parts)
    objective = FlowFramesObjective(backbone, TrainConfig(DataConfig("unused"), conventions="published"))
    source = objective.coupling(elsewhere, Draws([1, 2], coins_B=[0.2, 0.2])).x_source
    assert source.device.type == "meta" and source.shape == shape
