"""Reading pictures: Vista's frames bit for bit, the fast way close to them, and nothing bad let through."""

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from worldmodel.datasets.images import adjust_intrinsics, read_image
from worldmodel.datasets.resize import crop_box
from worldmodel.errors import InputError


@cache
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


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("resample", ["area", "vista"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_exif_orientation_is_followed(tmp_path: Path, orientation: int, resample: str, suffix: str) -> None:
    """The crop is of the upright picture: one stored lying down is cropped as it is shown."""
    upright = Image.fromarray(scenery(240, 320))
    stored = upright.transpose(STORED[orientation]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored.save(tmp_path / f"a.{suffix}", quality=95, exif=exif)
    upright.save(tmp_path / f"b.{suffix}", quality=95)
    turned, plain = (read_image(tmp_path / f"{name}.{suffix}", (64, 128), resample) for name in "ab")
    assert psnr(turned, plain) > 38


STORED = {  # how an upright picture is stored, so that its orientation tag turns it back
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # fmt: skip


def test_the_reported_picture_is_upright(reported_folder: Path) -> None:
    path = reported_folder / "05_exif" / "0000.jpg"
    with Image.open(path) as opened:
        shown = ImageOps.exif_transpose(opened).convert("RGB")
        stored = np.asarray(opened.convert("RGB"))
    frame = read_image(path, (shown.height, shown.width))
    assert psnr(frame, np.asarray(shown)) > 30 > psnr(frame, stored)


WIDE = np.linspace(0, 65535, 64 * 96).reshape(64, 96).astype(np.uint16)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "big.tif", "a.pgm", "white_is_zero.tif"])
def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.replace("pgm", "png")
    picture = Image.fromarray(WIDE)
    if name == "big.tif":
        picture = Image.frombytes("I;16B", (96, 64), WIDE.astype(">u2").tobytes())
    if name == "white_is_zero.tif":
        picture = Image.fromarray(65535 - WIDE)
    if name == "a.pgm":
        path.write_bytes(b"P5 96 64 65535 " + WIDE.astype(">u2").tobytes())
    else:
        picture.save(path, **({"tiffinfo": {262: 0}} if name == "white_is_zero.tif" else {}))
    frame = read_image(path, (64, 96)).astype(int)
    assert np.abs(frame - (WIDE / 257)[..., None]).max() <= 1


def test_twelve_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    grey = np.linspace(0, 4095, 64 * 96).astype(int)
    high, low = grey[0::2], grey[1::2]
    packed = np.stack([high >> 4, (high & 15) << 4 | low >> 8, low & 255], axis=1).astype(np.uint8).tobytes()
    entries = [(256, 96), (257, 64), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 64), (279, len(packed))]
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries) + bytes(4)
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8 + len(packed)) + packed + directory)
    frame = read_image(tmp_path / "a.tif", (64, 96)).astype(int)
    assert np.abs(frame - (grey / 4095 * 255).reshape(64, 96, 1)).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr"])
def test_every_colour_type_is_right(tmp_path: Path, mode: str) -> None:
    """Half dark red, half light grey, as near as the mode can say it."""
    halves = Image.new("RGB", (96, 64), (200, 200, 200))
    halves.paste((120, 10, 20), (0, 0, 48, 64))
    picture = halves.quantize(2).convert(mode) if mode in ("P", "PA") else halves.convert(mode)
    picture.save(tmp_path / "a.tif")
    frame = read_image(tmp_path / "a.tif", (64, 96))
    expected = np.asarray(halves.convert("L").convert("RGB") if mode in ("L", "LA") else halves)
    if mode == "1":  # dithered
        assert frame[:, :40].mean() < 100 < frame[:, 56:].mean()
    else:
        assert np.abs(frame.astype(int) - expected)[:, [10, 80]].max() <= 3


@pytest.mark.parametrize("mode", ["I", "F", "LAB"])
def test_numbers_without_a_known_white_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (96, 64)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=rf"a\.tif: pixels of mode {mode} have no known white; save it as 8-bit RGB"):
        read_image(tmp_path / "a.tif", (64, 96))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_refused(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (96, 64), (255, 0, 0, 255))
    picture.paste((0, 255, 0, 0), (0, 0, 10, 10))
    picture.convert(mode).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png: it has transparent pixels"):
        read_image(tmp_path / "a.png", (64, 96))


def test_pages_are_refused(tmp_path: Path) -> None:
    Image.new("RGB", (96, 64)).save(tmp_path / "a.tif", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    with pytest.raises(InputError, match=r"a\.tif: it holds 2 pages"):
        read_image(tmp_path / "a.tif", (64, 96))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp"])
def test_damage_never_ends_in_another_error(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(scenery(60, 80)).save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    chance = np.random.default_rng(0)
    for _ in range(100):
        damaged = bytearray(whole[: chance.integers(1, len(whole) + 1)])
        for at in chance.integers(0, len(damaged), 3):
            damaged[at] = chance.integers(256)
        (tmp_path / f"b.{suffix}").write_bytes(damaged)
        try:
            read_image(tmp_path / f"b.{suffix}", (16, 24))
        except InputError as error:
            assert f"b.{suffix}" in str(error)
