"""The written lists: Vista's loader reads them; whatever is altered, missing or there twice is refused."""

import hashlib
import json
import os
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from even_times import fire_evenly
from nuscenes_small import VERSION, edit_table, token

from worldmodel.benchmarks.clips import LISTS, Clip, ClipList, ClipsConfig, View, clip_list, read_clip_list, registry
from worldmodel.benchmarks.clips.documents import header_path, write_clip_list
from worldmodel.benchmarks.clips.registry import label_of
from worldmodel.cli.commands.benchmark_clips import clips
from worldmodel.errors import InputError


def config(root: Path, out: Path, name: str = "vista-val", **settings: object) -> ClipsConfig:
    version = None if name.startswith("toy") else VERSION
    return ClipsConfig(list=name, root=str(root), version=version, out=str(out), **settings)


def as_vista_reads_it(path: Path, root: Path, number: int, frames: int) -> dict:
    """Vista's dataset as baselines.md, section 7, describes it: a list of objects, picked by number."""
    with open(path) as annotation:
        samples = json.load(annotation)
    sample = samples[number]
    pictures = [os.path.join(root, sample["frames"][index]) for index in range(frames)]
    assert all(os.path.exists(picture) for picture in pictures)
    read = {"pictures": pictures, "trajectory": sample["traj"][2:], "command": sample["cmd"]}
    if sample["speed"]:
        read["speed"] = sample["speed"][1:]
    if sample["angle"]:
        read["angle"] = [angle / 780 for angle in sample["angle"][1:]]
    if sample["z"] > 0 and 0 < sample["goal"][0] < 1600 and 0 < sample["goal"][1] < 900:
        read["goal"] = [sample["goal"][0] / 1600, sample["goal"][1] / 900]
    return read


@pytest.mark.parametrize(("name", "frames"), [("vista-val", 25), ("flowframes-val", 34), ("toyworld-val", 34)])
def test_vistas_loader_reads_it(
    name: str, frames: int, small_val: Path, toy_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = toy_root if name == "toyworld-val" else small_val
    chosen = clips(config(root, tmp_path / "list.json", name))
    for number, clip in enumerate(chosen.clips):
        if clip.actions is None:
            continue
        read = as_vista_reads_it(tmp_path / "list.json", root, number, frames)
        assert len(read["trajectory"]) == 8 and read["command"] in range(4)
        assert "speed" not in read and "angle" not in read
        assert read["pictures"] == [str(root / frame) for frame in clip.lead.frames]
    assert any(clip.actions for clip in chosen.clips) == (name != "flowframes-val"), "a clip of sweeps has none"
    assert read_clip_list(tmp_path / "list.json") == chosen
    printed = capsys.readouterr().out.splitlines()
    assert json.loads(printed[-1])["sha256"] == chosen.sha256 and str(chosen.expected) in printed[0].replace(",", "")


def test_one_line_a_clip_and_no_half_written_file(small_val: Path, tmp_path: Path) -> None:
    chosen = clips(config(small_val, tmp_path / "list.json"))
    assert len((tmp_path / "list.json").read_text().splitlines()) == len(chosen) + 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.header.json", "list.json"]
    with pytest.raises(InputError, match="already there; check=true"):
        clips(config(small_val, tmp_path / "list.json"))
    assert clips(config(small_val, tmp_path / "list.json", overwrite=True)) == chosen


def test_check_takes_what_was_built(small_val: Path, toy_root: Path, tmp_path: Path) -> None:
    for name, root in (("vista-val", small_val), ("flowframes-val", small_val), ("toyworld-val", toy_root)):
        built = clips(config(root, tmp_path / f"{name}.json", name, hash_frames=True))
        assert built.frames_sha256 and set(built.frame_hashes) == set(built.files)
        for read_bytes in (False, True):
            assert clips(config(root, tmp_path / f"{name}.json", name, check=True, hash_frames=read_bytes)) == built


def test_check_of_a_longer_list_needs_no_frames(toy_root: Path, tmp_path: Path) -> None:
    clips(config(toy_root, tmp_path / "list.json", "toyworld-val", frames=51))
    assert clips(config(toy_root, tmp_path / "list.json", "toyworld-val", check=True)).frames == 51


def edited(path: Path, change) -> None:
    entries = json.loads(path.read_text())
    change(entries)
    path.write_text(json.dumps(entries))


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries.pop(3),
        lambda entries: entries.append(entries[0]),
        lambda entries: entries.reverse(),
        lambda entries: entries[2]["frames"].pop(),
        lambda entries: entries[2]["frames"].__setitem__(5, entries[2]["frames"][4]),
        lambda entries: entries[2]["frames"].__setitem__(5, "sweeps/CAM_FRONT/other.jpg"),
        lambda entries: entries[2]["timestamps"].__setitem__(5, entries[2]["timestamps"][5] + 1),
        lambda entries: entries[2].__setitem__("start_sd_token", entries[1]["start_sd_token"]),
        lambda entries: entries[2].__setitem__("scene", "scene-0001"),
        lambda entries: entries[2].pop("camera"),
        lambda entries: entries.clear(),
    ],
)
def test_altered_lists_are_refused(change, small_val: Path, tmp_path: Path) -> None:
    clips(config(small_val, tmp_path / "list.json"))
    edited(tmp_path / "list.json", change)
    with pytest.raises(InputError, match="build it anew|restore the tables"):
        read_clip_list(tmp_path / "list.json")


def test_order_of_keys_does_not_matter(small_val: Path, tmp_path: Path) -> None:
    chosen = clips(config(small_val, tmp_path / "list.json"))
    edited(tmp_path / "list.json", lambda entries: entries.__setitem__(slice(None), [turned(e) for e in entries]))
    edited(header_path(tmp_path / "list.json"), lambda header: header.update(turned(header)))
    assert read_clip_list(tmp_path / "list.json") == chosen


def turned(entry: dict) -> dict:
    return dict(reversed(entry.items()))


def test_half_a_list_is_refused(small_val: Path, toy_root: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_clip_list(tmp_path / "list.json")
    clips(config(small_val, tmp_path / "list.json"))
    clips(config(small_val, tmp_path / "other.json", "flowframes-val"))
    os.replace(header_path(tmp_path / "other.json"), header_path(tmp_path / "list.json"))
    with pytest.raises(InputError):
        read_clip_list(tmp_path / "list.json")
    with pytest.raises(InputError, match="other.header.json: no such file"):
        read_clip_list(tmp_path / "other.json")
    (tmp_path / "list.json").write_text("[{")
    with pytest.raises(InputError, match="not a clip list"):
        read_clip_list(tmp_path / "list.json")


def test_check_names_the_file(own_val: Path, tmp_path: Path) -> None:
    out = tmp_path / "list.json"
    chosen = clips(config(own_val, out, hash_frames=True))
    victim = own_val / chosen.clips[1].lead.frames[7]
    whole = victim.read_bytes()
    victim.write_bytes(whole[:-1] + b"x")
    assert clips(config(own_val, out, check=True)) == chosen, "names only"
    with pytest.raises(InputError, match=f"1 files were altered, such as {victim}"):
        clips(config(own_val, out, check=True, hash_frames=True))
    assert clip_list(config(own_val, out, hash_frames=True)).frames_sha256 != chosen.frames_sha256
    victim.write_bytes(b"")
    with pytest.raises(InputError, match="1 files are empty"):
        clips(config(own_val, out, check=True))
    victim.unlink()
    with pytest.raises(InputError, match=r"1 of 67 files are not below"):
        clips(config(own_val, out, check=True))
    with pytest.raises(InputError, match="1 of 67 files are not below"):
        clip_list(config(own_val, out, hash_frames=True))
    victim.write_bytes(whole)
    assert clips(config(own_val, out, check=True, hash_frames=True)) == chosen


def test_check_refuses_other_data(own_val: Path, small_val: Path, toy_root: Path, tmp_path: Path) -> None:
    clips(config(own_val, tmp_path / "list.json"))
    with pytest.raises(InputError, match="these data give"):
        clips(config(small_val, tmp_path / "list.json", check=True))
    with pytest.raises(InputError, match="built without hash_frames"):
        clips(config(own_val, tmp_path / "list.json", check=True, hash_frames=True))
    with pytest.raises(InputError, match="is vista-val@2; say list=vista-val@2"):
        clips(config(own_val, tmp_path / "list.json", "flowframes-val", check=True))

    def rename(records: list[dict]) -> None:
        of = {record["token"]: record for record in records}
        of[token("scene-0003", "CAM_FRONT", 20)]["filename"] += ".old"

    edit_table(own_val, "sample_data", rename)
    with pytest.raises(InputError, match="clip 0 is scene-0003 from"):
        clips(config(own_val, tmp_path / "list.json", check=True))


def handmade(*views: View) -> ClipList:
    made = tuple(Clip("scene", (view,)) for view in views)
    return ClipList("mine", 3, "by hand", 2, 2, 1, 12.0, "v1.0-mine", made)


def test_the_hash_is_the_same_on_every_machine() -> None:
    chosen = handmade(View("A", ("a/1.jpg", "a/2.jpg"), "0f" * 16, (1, 2)), View("B", ("ü/1.jpg", "b/2.jpg")))
    first = f'["scene","A",["a/1.jpg","a/2.jpg"],"{"0f" * 16}",[1,2]]'
    second = '["scene","B",["\\u00fc/1.jpg","b/2.jpg"],"",[]]'
    identity = f'{{"clips":[[{first}],[{second}]],"frames":2,"list":"mine@3","source":{{}}}}'
    assert chosen.sha256 == hashlib.sha256(identity.encode("ascii")).hexdigest()
    assert chosen.frames_sha256 == ""
    hashed = replace(chosen, frame_hashes={"b": "1", "a": "2"})
    assert hashed.sha256 == chosen.sha256
    assert hashed.frames_sha256 == replace(chosen, frame_hashes={"a": "2", "b": "1"}).frames_sha256 != ""


def test_a_list_holds_each_clip_once() -> None:
    view = View("A", ("a/1.jpg", "a/2.jpg"))
    with pytest.raises(InputError, match="mine@3, clip 1: a/1.jpg begins another clip too"):
        handmade(view, view)
    with pytest.raises(InputError, match="times do not rise"):
        handmade(View("A", ("a/1.jpg", "a/2.jpg"), "", (2, 1)))
    with pytest.raises(InputError, match="1 frames and 0 times, not 2"):
        handmade(View("A", ("a/1.jpg",)))


def test_readers_of_json_keep_several_views(toy_root: Path, tmp_path: Path) -> None:
    chosen = clip_list(config(toy_root, tmp_path / "list.json", "toyworld-val"))
    write_clip_list(chosen, tmp_path / "list.json")
    first = json.loads((tmp_path / "list.json").read_text())[0]
    assert first["camera"] == "CAM_FRONT" and len(first["views"]) == 5 and first["cameras"][0] == "CAM_FRONT_LEFT"
    edited(tmp_path / "list.json", lambda entries: entries[0]["views"].pop("CAM_BACK"))
    with pytest.raises(InputError, match="are not its views"):
        read_clip_list(tmp_path / "list.json")


@pytest.mark.parametrize("name", sorted({label.partition("@")[0] for label in LISTS}))
def test_every_list_has_a_card(name: str, repository: Path) -> None:
    card = (repository / "benchmarks" / "clips" / f"{name.replace('-', '_')}.md").read_text()
    changes = card[card.index("**Changelog.**") :]
    assert card.startswith(f"# {label_of(name)}\n") and "expected" in card and "matches" in card
    for label in LISTS:
        if label.startswith(f"{name}@"):
            assert f" {label.partition('@')[2]}: " in changes
            assert label == label_of(name) or f"list={label}" in card, "how an old version is had"


def test_lists_of_old_versions_open_and_are_checked(own_val: Path, tmp_path: Path) -> None:
    fire_evenly(own_val)
    for label in ("vista-val@1", "flowframes-val@1"):
        path = tmp_path / f"{label}.json"
        built = clips(config(own_val, path, label))
        assert read_clip_list(path) == built and (built.label, built.version) == (label, 1)
        assert clips(config(own_val, path, label, check=True)) == built
        with pytest.raises(InputError, match=f"is {label}; say list={label}"):
            clips(config(own_val, path, label.partition("@")[0], check=True))


def test_the_example_of_the_docs_works(
    repository: Path, toy_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (repository / "docs" / "benchmarks.md").read_text()
    code = next(part for part in page.split("```python\n")[1:] if "def build" in part).split("```")[0]
    (tmp_path / "my_clips.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    entry = EntryPoint("night-val@1", "my_clips:build", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    night = ClipsConfig(list="night-val", root=str(toy_root), out=str(tmp_path / "night.json"))
    written = clips(night)
    assert written.label == "night-val@1" and len(written) > 0
    assert clips(replace(night, list="night-val@1", check=True)) == written
