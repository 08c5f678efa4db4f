"""Reading pictures: Vista's frames bit for bit, the fast way close to them, and nothing bad let through."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from worldmodel.datasets.fitting import crop_box
from worldmodel.datasets.images import adjust_intrinsics, read_image
from worldmodel.errors import InputError


def scenery(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with a falling spectrum as lenses give it, correlated colours and some hard edges."""
    rng = np.random.default_rng(seed)
    radius = np.hypot(np.fft.fftfreq(height)[:, None] * height, np.fft.rfftfreq(width)[None] * width)
    waves = rng.normal(size=(4, *radius.shape)) + 1j * rng.normal(size=(4, *radius.shape))
    layers = np.fft.irfft2(waves / np.maximum(radius, 1) ** 1.6, s=(height, width))
    layers /= layers.std(axis=(1, 2), keepdims=True)
    picture = 128 + 45 * layers[:1] + 12 * layers[1:]
    for _ in range(12):
        top, left = rng.integers(0, height - 40), rng.integers(0, width - 60)
        picture[:, top : top + 40, left : left + 60] += rng.normal(0, 25, size=(3, 1, 1))
    return picture.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def save(path: Path, picture: np.ndarray, **options: object) -> Path:
    Image.fromarray(picture).save(path, **{"quality": 90} | options)
    return path


def vista(path: Path, size: tuple[int, int]) -> np.ndarray:
    """Vista's preprocessing, written down once more: crop to whole pixels at the centre, then LANCZOS."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    width, height = picture.size
    if width / height > size[1] / size[0]:
        kept = int(size[1] / size[0] * height)
        picture = picture.crop(((width - kept) // 2, 0, (width + kept) // 2, height))
    elif width / height < size[1] / size[0]:
        kept = int(size[0] / size[1] * width)
        picture = picture.crop((0, (height - kept) // 2, width, (height + kept) // 2))
    return np.asarray(picture.resize((size[1], size[0]), resample=Image.Resampling.LANCZOS))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b.astype(float)) ** 2))))


SIZES = [(256, 384), (240, 416), (320, 576), (64, 64), (300, 100)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", [(900, 1600), (331, 517), (200, 300)])
def test_vista_is_bit_equal_to_pil(tmp_path: Path, size: tuple[int, int], source: tuple[int, int]) -> None:
    path = save(tmp_path / "a.jpg", scenery(*source))
    frame = read_image(path, size, "vista")
    assert frame.shape == (*size, 3) and frame.dtype == np.uint8
    assert np.array_equal(frame, vista(path, size))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("source", [(900, 1600), (901, 1603), (331, 517)])
def test_the_fast_way_is_close_to_lanczos(tmp_path: Path, size: tuple[int, int], source: tuple[int, int]) -> None:
    path = save(tmp_path / "a.jpg", scenery(*source))
    assert psnr(read_image(path, size), vista(path, size)) > 41
    shifted = np.roll(vista(path, size), 1, axis=1)
    assert psnr(read_image(path, size), shifted) < 40, "a frame shifted by one pixel must not pass as close"


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
def test_every_kind_of_jpeg(tmp_path: Path, subsampling: int, progressive: bool) -> None:
    path = save(tmp_path / "a.jpg", scenery(450, 800), subsampling=subsampling, progressive=progressive)
    assert psnr(read_image(path, (128, 192)), vista(path, (128, 192))) > 41


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
@pytest.mark.parametrize("resample", ["area", "vista"])
def test_colour_modes_become_rgb(tmp_path: Path, mode: str, resample: str) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(scenery(300, 400)).convert(mode).save(path, quality=95)
    assert psnr(read_image(path, (64, 96), resample), vista(path, (64, 96))) > 41


def test_png_and_other_formats(tmp_path: Path) -> None:
    picture = scenery(300, 400)
    for name in ("a.png", "a.bmp", "a.webp"):
        Image.fromarray(picture).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
        assert np.array_equal(read_image(tmp_path / name, (64, 96), "vista"), vista(tmp_path / name, (64, 96)))
        assert psnr(read_image(tmp_path / name, (64, 96)), vista(tmp_path / name, (64, 96))) > 41
    palette = Image.fromarray(picture).quantize(16)
    palette.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png", (64, 96)).shape == (64, 96, 3)


@pytest.mark.parametrize("resample", ["area", "vista"])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_is_refused(tmp_path: Path, resample: str, progressive: bool) -> None:
    whole = save(tmp_path / "a.jpg", scenery(180, 320), progressive=progressive).read_bytes()
    path = tmp_path / "cut.jpg"
    for kept in (1, 2, 3, 20, 200, len(whole) // 3, len(whole) // 2, len(whole) - 200, len(whole) - 10, len(whole) - 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"cut\.jpg is truncated or corrupt .*again") as caught:
            read_image(path, (32, 48), resample)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resample", ["area", "vista"])
def test_a_png_cut_anywhere_is_refused(tmp_path: Path, resample: str) -> None:
    stream = io.BytesIO()
    Image.fromarray(scenery(180, 320)).save(stream, "PNG")
    whole = stream.getvalue()
    for kept in (1, 8, 30, len(whole) // 2, len(whole) - 200):
        (tmp_path / "cut.png").write_bytes(whole[:kept])
        with pytest.raises(InputError, match=r"cut\.png is truncated or corrupt"):
            read_image(tmp_path / "cut.png", (32, 48), resample)


@pytest.mark.parametrize("resample", ["area", "vista"])
def test_overwritten_entropy_data_is_refused(tmp_path: Path, resample: str) -> None:
    whole = bytearray(save(tmp_path / "a.jpg", scenery(180, 320)).read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 64] = bytes(64)
    whole[middle + 64 : middle + 66] = b"\xff\xd3"
    (tmp_path / "rot.jpg").write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"rot\.jpg is truncated or corrupt"):
        read_image(tmp_path / "rot.jpg", (32, 48), resample)


def test_files_that_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("<html>404</html>")
    for name, expected in (("none.jpg", "No such file"), ("empty.jpg", "0 bytes"), ("text.jpg", "cannot identify")):
        with pytest.raises(InputError, match=rf"{name}.*{expected}"):
            read_image(tmp_path / name, (32, 48))
    with pytest.raises(InputError, match="cannot be read"):
        read_image(tmp_path, (32, 48))
    with pytest.raises(InputError, match="use one of area, vista"):
        read_image(save(tmp_path / "a.jpg", scenery(80, 80)), (32, 48), "cubic")


@pytest.mark.parametrize("resample", ["area", "vista"])
@pytest.mark.parametrize(
    ("source", "size"), [((900, 1600), (256, 384)), ((400, 400), (64, 192)), ((450, 800), (90, 60))]
)
def test_intrinsics_follow_the_pixels(
    tmp_path: Path, resample: str, source: tuple[int, int], size: tuple[int, int]
) -> None:
    intrinsic = np.array([[1000.0, 0, 810.0], [0, 1000.0, 470.0], [0, 0, 1]])
    left, top, right, bottom = crop_box(source[1], source[0], *size)
    assert (right - left) / (bottom - top) == pytest.approx(size[1] / size[0], rel=0.01)
    x, y = left + 0.7 * (right - left), top + 0.6 * (bottom - top)  # where a bright spot is drawn
    rows, columns = np.mgrid[: source[0], : source[1]] + 0.5
    spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (0.03 * (right - left)) ** 2))
    path = save(tmp_path / "spot.jpg", np.repeat(spot[..., None], 3, axis=2).astype(np.uint8), quality=98)
    frame = read_image(path, size, resample).mean(axis=2)
    frame = np.where(frame > 30, frame, 0)
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    seen = np.array([(frame * columns).sum(), (frame * rows).sum()]) / frame.sum()
    ray = np.linalg.inv(intrinsic) @ [x, y, 1]
    projected = adjust_intrinsics(intrinsic, source[1], source[0], size) @ ray
    np.testing.assert_allclose(projected[:2] / projected[2], seen, atol=0.1)
