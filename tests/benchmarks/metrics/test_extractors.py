"""Golden numbers of the two published extractors, through the public loaders; what loading refuses."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from worldmodel.benchmarks.metrics import inception
from worldmodel.benchmarks.metrics.cdfvd import CdFvd, middle
from worldmodel.benchmarks.metrics.extractor import FrozenNorm, full_precision, load_network
from worldmodel.benchmarks.metrics.i3d import FEWEST_FRAMES, load_i3d
from worldmodel.benchmarks.metrics.inception import WIDTHS, load_inception, tensorflow1_bilinear
from worldmodel.errors import InputError
from worldmodel.files import file_sha256

TOLERANCE = 1e-4


def difference(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> float:
    assert ours.shape == theirs.shape
    value = float((ours - theirs).abs().max())
    print(f"\n{what}: max abs difference {value:.2e} (largest value {float(theirs.abs().max()):.2f})")
    return value


def test_inception(golden, tmp_path: Path) -> None:
    for case in golden("inception_fid"):
        path = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
        torch.save(case.weights(), path)
        extractor = load_inception(path, sha256=file_sha256(path))
        images = case.tensors["images_uint8"].to(torch.uint8)
        taps = extractor(images[None])
        assert set(taps) == set(WIDTHS)
        for width in WIDTHS:
            assert difference(taps[width][0], case.tensors[f"tap{width}"], f"{case.name} {width}") < TOLERANCE
        protocol = extractor.protocol(64, frames=3, frame_rate=12.0, clips="list@1", sha256="cd")
        assert (protocol.sha256, protocol.width, protocol.frames) == (file_sha256(path), 64, 3)
        assert [extractor.title_of(width) for width in WIDTHS] == ["FID-64", "FID-192", "FID-768", "FID-2048"]

        other = load_inception(path, sha256=file_sha256(path), resize="antialias")
        assert float((other(images[None, :1])[64][0] - taps[64][0, :1]).abs().max()) > 1e-3
        assert other.title_of(64) == "FID-64[antialias]"
        assert other.protocol(64, 3).hash() != extractor.protocol(64, 3).hash()

        one_width = load_inception(path, sha256=file_sha256(path), resize="antialias", widths=(2048,))
        found = one_width(images[None, :1])
        assert set(found) == {2048} and torch.equal(found[2048], other(images[None, :1])[2048])
        with pytest.raises(InputError, match="fid-inception: frames of dtype float32; give 8-bit frames"):
            extractor(images[None] / 255)


def test_i3d(golden, tmp_path: Path) -> None:
    for case in golden("i3d_400"):
        path = tmp_path / "i3d_pretrained_400.pt"
        torch.save(case.weights(), path)
        extractor = load_i3d("videogpt", tmp_path, sha256=file_sha256(path))
        video_BFCHW = case.tensors["video_uint8"].to(torch.uint8).permute(0, 1, 4, 2, 3)
        logits = extractor(video_BFCHW)[400][:, 0]
        assert difference(logits, case.tensors["logits"], case.name) < TOLERANCE
        assert extractor.title_of(400) == "FVD[i3d-videogpt]"
        with pytest.raises(InputError, match=f"at least {FEWEST_FRAMES}"):
            extractor(video_BFCHW[:, : FEWEST_FRAMES - 1])
        assert extractor(video_BFCHW[:, :FEWEST_FRAMES, :, :8, :8])[400].shape == (1, 1, 400)
        with pytest.raises(InputError, match="i3d-videogpt: frames of dtype float32; give 8-bit frames"):
            extractor(video_BFCHW / 255)

        cdfvd = CdFvd(extractor.network, file_sha256(path))
        square = torch.randint(0, 256, (1, 17, 3, 256, 256), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
        assert torch.equal(cdfvd(square)[400], extractor(middle(square[:, :16]))[400])
        assert cdfvd.title_of(400) == "FVD[i3d-cdfvd]" and "first 16 frames" in cdfvd.made_with.resize
        with pytest.raises(InputError, match="of 15 frames: it takes 16 of each clip"):
            cdfvd(square[:, :15])


def test_what_cdfvd_sees_of_a_frame() -> None:
    """The short side to 256, the square in the middle, levels truncated to 8 bits."""
    ramp = torch.arange(0, 192, dtype=torch.float32).expand(1, 1, 3, 128, 192).to(torch.uint8)
    seen = middle(ramp)
    assert seen.shape == (1, 1, 3, 256, 256) and seen.dtype == torch.uint8
    places = (64 + torch.arange(256) + 0.5) / 2 - 0.5  # 192 columns become 384, of which 64 to 319 are left
    assert (seen[0, 0, 0, 7].float() - places.floor()).abs().max() <= 1
    tall = middle(ramp.transpose(3, 4).contiguous())
    assert torch.equal(tall, seen.transpose(3, 4))


def test_torchmetrics_antialiases_by_itself() -> None:
    """Of 1.8.0 on, hence `fid-torchmetrics` does; its default width is 2048."""
    from inspect import signature

    from torchmetrics.image.fid import FrechetInceptionDistance

    said = signature(FrechetInceptionDistance.__init__).parameters
    assert said["antialias"].default is True and said["feature"].default == 2048
    assert "since 1.9" not in (inception.__doc__ or "") and "1.8.0" in (inception.__doc__ or "")


LOADED = {
    "inception_fid": (load_inception, "Mixed_6c.branch7x7_2.bn.running_var"),
    "i3d_400": (partial(load_i3d, "videogpt"), "Mixed_4d.b1a.conv3d.weight"),
}


@pytest.mark.parametrize("kind", LOADED)
def test_a_file_of_other_keys_is_refused(golden, tmp_path: Path, kind: str) -> None:
    (load, key), path = LOADED[kind], tmp_path / "weights.safetensors"
    whole = {name: torch.zeros(shape, dtype=torch.float16) for name, shape in golden(kind)[0].spec["keys"].items()}
    lacking = {name: value for name, value in whole.items() if name != key}
    for weights, named in (
        (lacking, f"{key} is missing"),
        (whole | {"head.weight": torch.zeros(1)}, "head.weight is not part"),
        (whole | {key: torch.zeros(3)}, rf"{key} has shape \[3\]"),
    ):
        save_file(weights, path)
        with pytest.raises(InputError, match=named):
            load(path, checked=False)


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = FrozenNorm(4, eps=1e-3)


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_old_torch_and_with_counters(tmp_path: Path, zipped: bool) -> None:
    published = nn.Sequential()
    published.norm = nn.BatchNorm1d(4, eps=1e-3)
    published(torch.randn(50, 4))
    torch.save(published.state_dict(), tmp_path / "norm.pth", _use_new_zipfile_serialization=zipped)
    with torch.device("meta"):
        ours = Normed()
    load_network(ours, tmp_path / "norm.pth")
    given = torch.randn(3, 4)
    assert torch.equal(ours.norm(given), published.eval().norm(given))
    with pytest.raises(InputError, match="extra"):
        torch.save({**published.state_dict(), "extra": torch.zeros(1)}, tmp_path / "norm.pth")
        load_network(ours, tmp_path / "norm.pth")
    load_network(ours, tmp_path / "norm.pth", unused="extra")


def test_a_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "norm.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="not a flat table"):
        load_network(Normed(), tmp_path / "norm.pth")
    (tmp_path / "norm.pth").write_bytes(b"\x80\x02no pickle at all")
    with pytest.raises(InputError, match="not a readable"):
        load_network(Normed(), tmp_path / "norm.pth")


class Squashing(nn.Module):
    """As StyleGAN-V's file is called: it squashes and scales by itself when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("middle", torch.tensor(127.5))

    def forward(
        self, video: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        small = video.mean(dim=[2, 3, 4]) if resize else video[:, :, 0, 0, 0]
        small = small / self.middle - 1 if rescale else small
        return small.repeat(1, 134)[:, :400] if return_features else small


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_runs_only_with_the_right_hash(tmp_path: Path) -> None:
    path = tmp_path / "i3d_torchscript.pt"
    torch.jit.script(Squashing()).save(path)
    extractor = load_i3d("styleganv", path, sha256=file_sha256(path))
    frames = torch.randint(0, 256, (2, 9, 3, 6, 8), dtype=torch.uint8)
    features = extractor(frames)[400]
    assert features.shape == (2, 1, 400)
    assert torch.allclose(features[:, 0, :3], frames.float().mean(dim=(1, 3, 4)) / 127.5 - 1, atol=1e-5)
    assert extractor.title_of(400) == "FVD[i3d-styleganv]"
    for said in ({"sha256": "00" * 32}, {}, {"checked": False}):
        with pytest.raises(InputError, match=r"sha256|bytes"):
            load_i3d("styleganv", path, **said)


def test_tensorflow_1_bilinear() -> None:
    """Pixel i of the result lies at i * in / out: no half pixels, and the last line is held."""
    ramp = torch.arange(4.0).view(1, 1, 1, 4).expand(1, 1, 4, 4)
    assert torch.allclose(tensorflow1_bilinear(ramp, 8)[0, 0, 0], torch.tensor([0, 0.5, 1, 1.5, 2, 2.5, 3, 3]))
    assert torch.equal(tensorflow1_bilinear(ramp, 2)[0, 0, 0], torch.tensor([0.0, 2.0]))
    assert torch.equal(tensorflow1_bilinear(ramp, 4), ramp)


def test_full_precision_ends() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    with torch.autocast("cpu", torch.bfloat16):
        with full_precision("cpu"):
            assert not torch.backends.cuda.matmul.allow_tf32
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False


def test_unknown_choices() -> None:
    with pytest.raises(InputError, match="videogpt and styleganv"):
        load_i3d("tensorflow")
