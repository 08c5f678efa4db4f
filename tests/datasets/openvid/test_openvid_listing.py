"""Lists of videos as people have them."""

import json
from pathlib import Path

import pytest

from worldmodel.datasets.openvid import VideoEntry, read_list
from worldmodel.errors import InputError

HEADER = "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"


def listed(path: Path, text: str) -> list[VideoEntry]:
    path.write_text(text)
    return list(read_list(path))


def test_the_published_columns(tmp_path: Path) -> None:
    row = '---_iRTHryQ_13_0to241.mp4,"A man, in a ""red"" coat",5.19,9.97,0.99,pan_left,241,30.0,8.03\n'
    (entry,) = listed(tmp_path / "OpenVid-1M.csv", HEADER + row)
    assert entry.video == "---_iRTHryQ_13_0to241.mp4"
    assert entry.caption == 'A man, in a "red" coat'
    assert entry.facts["seconds"] == "8.03"
    assert entry.facts["camera motion"] == "pan_left"


@pytest.mark.parametrize("header", ["Video,Caption", "caption,media_path", "text,video path", "\ufeffvideo,caption"])
def test_column_names_as_they_come(tmp_path: Path, header: str) -> None:
    first_is_video = "ideo" in header.split(",")[0]
    row = "a.mp4,words" if first_is_video else "words,a.mp4"
    assert listed(tmp_path / "list.csv", f"{header}\n{row}\n") == [VideoEntry("a.mp4", "words")]


def test_a_long_list_is_streamed(tmp_path: Path) -> None:
    rows = "".join(f"{number}.mp4,{'word ' * 100}\n" for number in range(3000))
    (tmp_path / "list.csv").write_text("video,caption\n" + rows + "broken\n")
    entries = read_list(tmp_path / "list.csv")
    assert next(entries).video == "0.mp4"
    with pytest.raises(InputError, match=r"list\.csv:3002: 1 cells, the header has 2"):
        list(entries)


def test_a_huge_caption(tmp_path: Path) -> None:
    (entry,) = listed(tmp_path / "list.csv", f"video,caption\na.mp4,{'x' * 400_000}\n")
    assert len(entry.caption) == 400_000


def test_jsonl(tmp_path: Path) -> None:
    lines = [{"caption": "one", "media_path": "a.mp4", "fps": 24}, {"video": "b.mp4"}]
    found = listed(tmp_path / "list.jsonl", "\n".join(map(json.dumps, lines)) + "\n\n")
    assert found == [VideoEntry("a.mp4", "one", {"fps": "24"}), VideoEntry("b.mp4")]


@pytest.mark.parametrize("header", ["video,prompt,caption", "video,Prompt,captions", "video,prompt,text"])
def test_what_is_seen_comes_before_what_was_asked(tmp_path: Path, header: str) -> None:
    row = "a.mp4,Describe the video in detail.,a red car"
    assert listed(tmp_path / "list.csv", f"{header}\n{row}\n")[0].caption == "a red car"


def test_captions_come_before_prompts(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Describe the video.\n")
    (tmp_path / "captions.txt").write_text("a red car\n")
    assert listed(tmp_path / "videos.txt", "a.mp4\n") == [VideoEntry("a.mp4", "a red car")]


@pytest.mark.parametrize(
    ("name", "data", "line"),
    [
        ("list.csv", "video,caption\na.mp4,café – it’s raining\n".encode("cp1252"), 2),
        ("list.csv", "video,caption\na.mp4,x\n".encode("utf-16"), 1),
        ("list.jsonl", '{"video": "a.mp4"}\n{"video": "é.mp4"}\n'.encode("latin-1"), 2),
        ("videos.txt", ("a.mp4\n" * 5000 + "é.mp4\n").encode("latin-1"), 5001),
    ],
)
def test_another_encoding_is_named_with_its_line(tmp_path: Path, name: str, data: bytes, line: int) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}:{line}: not UTF-8 text; save the file as UTF-8"):
        list(read_list(tmp_path / name))


@pytest.mark.parametrize("name", ["cp1252.csv:2", "utf16.csv:1", "latin.jsonl:1", "latin.txt:2"])
def test_the_reported_lists(name: str, reported_folder: Path) -> None:
    file, line = name.split(":")
    with pytest.raises(InputError, match=rf"{file}:{line}: not UTF-8"):
        list(read_list(reported_folder / "09_csv" / file))


def test_a_nul_in_a_csv_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b'video,caption\na.mp4,x\nb\0.mp4,"open\r\n')
    try:
        list(read_list(tmp_path / "list.csv"))
    except InputError as error:
        assert "list.csv:" in str(error)


def test_text_files_side_by_side(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("one\ntwo\n")
    assert listed(tmp_path / "videos.txt", "a.mp4\nb.mp4\n") == [VideoEntry("a.mp4", "one"), VideoEntry("b.mp4", "two")]


def test_a_text_file_alone(tmp_path: Path) -> None:
    assert listed(tmp_path / "videos.txt", "a.mp4\n\nb.mp4\n") == [VideoEntry("a.mp4"), VideoEntry("b.mp4")]


def test_a_folder(tmp_path: Path) -> None:
    for name in ("b.mp4", "deep/a.mkv", "notes.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(read_list(tmp_path)) == [VideoEntry("b.mp4"), VideoEntry("deep/a.mkv")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.csv", "name,caption\na,b\n", "no column 'video' among name, caption"),
        ("list.csv", "", "no column 'video' among none"),
        ("list.jsonl", '{"video": "a.mp4"}\n{"video"\n', r"list\.jsonl:2: not JSON"),
        ("list.jsonl", '["a.mp4"]\n', r"list\.jsonl:1: not a JSON object"),
        ("list.jsonl", '{"caption": "a"}\n', r"list\.jsonl:1: no key 'media_path'"),
        ("videos.txt", "a.mp4\nb.mp4\n", r"prompt\.txt: ends before line 2, videos\.txt goes on"),
        ("list.parquet", "", "give a .csv, .jsonl or .txt file"),
    ],
)
def test_broken_lists_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / "prompt.txt").write_text("one\n")
    with pytest.raises(InputError, match=message):
        listed(tmp_path / name, text)


def test_hidden_files_of_a_folder_are_no_videos(tmp_path: Path) -> None:
    for name in ("a.mp4", "._a.mp4", ".cache/b.mp4", "__MACOSX/c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(read_list(tmp_path)) == [VideoEntry("a.mp4")]


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no videos"):
        list(read_list(tmp_path))
