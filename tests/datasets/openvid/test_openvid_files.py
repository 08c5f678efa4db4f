"""Videos found in folders and archives."""

import io
import random
import zipfile
from pathlib import Path

import pytest

from worldmodel.datasets.openvid import VideoFiles
from worldmodel.datasets.openvid.archives import Joined
from worldmodel.errors import InputError

CONTENT = {f"clip{number}.mp4": random.Random(number).randbytes(5000) for number in range(6)}


def archive(path: Path, names: list[str]) -> bytes:
    with zipfile.ZipFile(path, "w") as packed:
        for name in names:
            packed.writestr(f"inside/{name}", CONTENT[name])
    return path.read_bytes()


@pytest.fixture
def zips(tmp_path: Path) -> Path:
    """One whole archive and one in three pieces, as published."""
    folder = tmp_path / "zips"
    folder.mkdir()
    archive(folder / "OpenVid_part1.zip", ["clip0.mp4", "clip1.mp4"])
    whole = archive(folder / "whole", ["clip2.mp4", "clip3.mp4"])
    (folder / "whole").unlink()
    for suffix, piece in zip(("aa", "ab", "ac"), (whole[:4000], whole[4000:10060], whole[10060:]), strict=True):
        (folder / f"OpenVid_part73_part{suffix}").write_bytes(piece)
    return folder


def test_a_clip_of_no_archive_is_none_and_nothing_is_extracted(zips: Path, tmp_path: Path) -> None:
    assert VideoFiles(archives=[zips], extract_to=tmp_path / "out").find("clip5.mp4") is None
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["clip0.mp4", "clip2.mp4", "clip3.mp4"])
def test_a_clip_is_extracted_whole_and_once(zips: Path, tmp_path: Path, name: str) -> None:
    files = VideoFiles(archives=[zips], extract_to=tmp_path / "out")
    found = files.find(name)
    assert found.relative_to(tmp_path / "out").parts[1:] == ("inside", name)
    assert found.read_bytes() == CONTENT[name]
    assert [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()] == [name]
    written = found.stat().st_mtime_ns
    assert files.find(name) == found and found.stat().st_mtime_ns == written
    found.write_bytes(b"another length")
    assert files.find(name).read_bytes() == CONTENT[name]


def test_folders_come_before_archives(zips: Path, tmp_path: Path) -> None:
    videos = tmp_path / "videos" / "deep"
    videos.mkdir(parents=True)
    (videos / "clip0.mp4").touch()
    files = VideoFiles([tmp_path / "videos"], [zips], tmp_path / "out")
    assert files.find("deep/clip0.mp4") == files.find("clip0.mp4") == videos / "clip0.mp4"
    assert files.find("nowhere.mp4") is None


def test_a_file_that_is_met_twice_counts_once(tmp_path: Path) -> None:
    inner, other = tmp_path / "videos" / "inner", tmp_path / "other"
    (inner / "deep").mkdir(parents=True)
    other.mkdir()
    (inner / "deep" / "clip0.mp4").touch()
    files = VideoFiles([tmp_path / "videos", inner, other])
    for name in ("clip0.mp4", "deep/clip0.mp4", str(inner / "deep" / "clip0.mp4")):
        assert files.find(name).samefile(inner / "deep" / "clip0.mp4"), name
    (other / "clip0.mp4").touch()
    (tmp_path / "videos" / "clip0.mp4").touch()
    with pytest.raises(InputError, match="both answer to it"):
        files.find("clip0.mp4")


def test_joined_pieces_read_like_one_file(tmp_path: Path) -> None:
    whole = random.Random(0).randbytes(1000)
    pieces = []
    for number, (start, stop) in enumerate([(0, 1), (1, 400), (400, 400), (400, 1000)]):
        pieces.append(tmp_path / str(number))
        pieces[-1].write_bytes(whole[start:stop])
    chance = random.Random(1)
    with io.BufferedReader(Joined(pieces), 64) as joined:
        assert joined.read() == whole
        for _ in range(50):
            start, count = chance.randrange(1000), chance.randrange(300)
            joined.seek(start)
            assert joined.read(count) == whole[start : start + count]
        joined.seek(-7, io.SEEK_END)
        assert joined.read() == whole[-7:]


def test_a_missing_piece_is_named(zips: Path, tmp_path: Path) -> None:
    (zips / "OpenVid_part73_partac").unlink()
    with pytest.raises(InputError, match=r"OpenVid_part73_partaa: its 2 pieces make no whole zip"):
        VideoFiles(archives=[zips], extract_to=tmp_path / "out").find("clip2.mp4")


def test_a_damaged_clip_leaves_nothing_behind(zips: Path, tmp_path: Path) -> None:
    packed = bytearray((zips / "OpenVid_part1.zip").read_bytes())
    packed[300:320] = bytes(20)
    (zips / "OpenVid_part1.zip").write_bytes(packed)
    with pytest.raises(InputError, match=r"OpenVid_part1\.zip: inside/clip0\.mp4 cannot be extracted"):
        VideoFiles(archives=[zips], extract_to=tmp_path / "out").find("clip0.mp4")
    assert not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_paths_in_a_list_match_paths(tmp_path: Path) -> None:
    """The same base name in two archives and in two folders, as crawls and cameras number their files."""
    for number, name in enumerate(("A", "B")):
        with zipfile.ZipFile(tmp_path / f"p{number}.zip", "w") as packed:
            packed.writestr(f"clips{name}/0001.mp4", name * 10)
        (tmp_path / "videos" / name).mkdir(parents=True)
        (tmp_path / "videos" / name / "0002.mp4").write_text(name)
    files = VideoFiles([tmp_path / "videos"], [tmp_path / "p0.zip", tmp_path / "p1.zip"], tmp_path / "out")
    assert files.find("clipsA/0001.mp4").read_text() == "A" * 10
    assert files.find("clipsB/0001.mp4").read_text() == "B" * 10
    assert files.find("B/0002.mp4").read_text() == "B"
    assert files.find("train/0001.mp4") is files.find("train/0002.mp4") is None
    for name in ("0001.mp4", "0002.mp4"):
        with pytest.raises(InputError, match=rf"^{name}: .* both answer to it; write the path in the list"):
            files.find(name)


def test_the_same_archive_name_in_two_folders(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with zipfile.ZipFile(tmp_path / name / "p.zip", "w") as packed:
            packed.writestr(f"{name}/x.mp4", name)
            packed.writestr("../../../evil.mp4", "stays inside")
    files = VideoFiles(archives=[tmp_path / "a", tmp_path / "b"], extract_to=tmp_path / "out")
    assert [files.find(f"{name}/x.mp4").read_text() for name in ("a", "b")] == ["a", "b"]
    alone = VideoFiles(archives=[tmp_path / "a"], extract_to=tmp_path / "out")
    assert alone.find("evil.mp4") is None, "hidden parts are no videos"


def test_a_member_that_zip_cannot_read_is_named(tmp_path: Path) -> None:
    """An encrypted member, and a way of packing that Python does not know."""
    for name, place, value in (("locked", 6, 1), ("unknown", 8, 97)):
        with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as packed:
            packed.writestr("a.mp4", b"content")
        data = bytearray((tmp_path / f"{name}.zip").read_bytes())
        directory = data.index(b"PK\x01\x02")
        for at in (place, directory + place + 2):
            data[at] = value
        (tmp_path / f"{name}.zip").write_bytes(data)
        files = VideoFiles(archives=[tmp_path / f"{name}.zip"], extract_to=tmp_path / "out")
        with pytest.raises(InputError, match=rf"{name}\.zip: a\.mp4 cannot be extracted"):
            files.find("a.mp4")


def test_what_macos_leaves_behind_is_no_video(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mac.zip", "w") as packed:
        packed.writestr("a.mp4", b"video")
        packed.writestr("__MACOSX/._a.mp4", b"fork")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "._b.mp4").write_bytes(b"fork")
    files = VideoFiles([tmp_path / "videos"], [tmp_path / "mac.zip"], tmp_path / "out")
    assert files.find("a.mp4").read_bytes() == b"video"
    assert files.find("b.mp4") is None


def test_what_is_not_there_is_named(tmp_path: Path, zips: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        VideoFiles([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="no such archive"):
        VideoFiles(archives=[tmp_path / "nowhere.zip"], extract_to=tmp_path)
    with pytest.raises(InputError, match="give extract_to"):
        VideoFiles(archives=[zips])
