"""Where weight files are looked for, and that none of other content passes."""

import hashlib
from pathlib import Path

import pytest
import torch

from worldmodel.benchmarks.metrics import weights
from worldmodel.benchmarks.metrics.catalogue import AUTO, BY_NAME_ONLY, CROSS_VIEW, NAMES, open_metrics
from worldmodel.benchmarks.metrics.weights import PUBLISHED, WeightFile, WeightsNotFound, find_weights
from worldmodel.errors import InputError
from worldmodel.files import file_sha256

CONTENT = b"weights of a small network"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT = hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No cache of this machine is looked into."""
    monkeypatch.delenv("WORLDMODEL_EXTRACTORS", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    return tmp_path


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, nowhere: Path) -> Path:
    """A small published file under two names, with all that is known of it."""
    known = WeightFile(("small.pth", "alias.pth"), len(CONTENT), SHA256, "https://example.org/small.pth", "MIT")
    monkeypatch.setitem(PUBLISHED, "small", known)
    return nowhere


def put(folder: Path, name: str = "small.pth", content: bytes = CONTENT) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


def test_the_places_in_their_order(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = put(small / "hf" / "models--a--b" / "snapshots" / "123")
    assert find_weights("small").path == cached
    hub = put(small / "torch" / "hub" / "checkpoints", "alias.pth")
    assert find_weights("small").path == hub
    named = put(small / "named")
    monkeypatch.setenv("WORLDMODEL_EXTRACTORS", str(small / "named"))
    assert find_weights("small").path == named
    given = put(small / "given", "any.pth")
    assert find_weights("small", given).path == given
    assert find_weights("small", small / "named").path == named
    assert find_weights("small").sha256 == SHA256
    with pytest.raises(WeightsNotFound, match="not at"):
        find_weights("small", small / "elsewhere.pth")


def test_absence_names_everything(small: Path) -> None:
    with pytest.raises(WeightsNotFound) as raised:
        find_weights("small")
    for part in ("small.pth", f"{len(CONTENT)} bytes", SHA256, "WORLDMODEL_EXTRACTORS", "example.org", "--fetch small"):
        assert part in str(raised.value)


def test_other_content_is_refused_wherever_it_lies(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLDMODEL_EXTRACTORS", str(small / "named"))
    path = put(small / "named", content=CONTENT[:-1])
    with pytest.raises(InputError, match=f"{len(CONTENT) - 1} bytes, {len(CONTENT)} are published"):
        find_weights("small")
    put(small / "named", content=CONTENT[:-1] + b"K")
    for said in ({}, {"path": path}):
        with pytest.raises(InputError, match=f"published is {SHA256}"):
            find_weights("small", **said)


def test_another_content_has_to_be_asked_for(small: Path) -> None:
    path = put(small / "given", content=b"mine")
    mine = file_sha256(path)
    assert find_weights("small", path, sha256=mine).sha256 == mine
    assert find_weights("small", path, checked=False).sha256 == mine
    with pytest.raises(InputError, match="given was"):
        find_weights("small", path, sha256=SHA256)
    for said in ({"sha256": mine}, {"checked": False}):
        with pytest.raises(InputError, match="given path only"):
            find_weights("small", **said)


@pytest.mark.parametrize("known", [{"sha256": SHA256[:8]}, {"sha256": "", "git": GIT}])
def test_what_little_is_published_is_checked(small: Path, monkeypatch: pytest.MonkeyPatch, known: dict) -> None:
    partly = WeightFile(("small.pth",), 0, url="https://example.org/small.pth", licence="MIT", **known)
    monkeypatch.setitem(PUBLISHED, "small", partly)
    assert find_weights("small", put(small / "given")).sha256 == SHA256
    with pytest.raises(InputError, match=r"published"):
        find_weights("small", put(small / "given", content=b"other"))


def test_download_only_if_asked_for(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = put(small / "site")
    served = WeightFile(("small.pth",), len(CONTENT), SHA256, source.as_uri(), "MIT")
    monkeypatch.setitem(PUBLISHED, "small", served)
    with pytest.raises(WeightsNotFound):
        find_weights("small")
    found = find_weights("small", download=True)
    assert found.path == small / "torch" / "hub" / "checkpoints" / "small.pth"
    assert find_weights("small").path == found.path

    found.path.unlink()
    put(small / "site", content=CONTENT[:5])  # a connection that broke
    with pytest.raises(InputError, match="5 bytes"):
        find_weights("small", download=True)
    assert list(found.path.parent.iterdir()) == []


def test_what_is_missing_is_skipped_by_name(nowhere: Path) -> None:
    found = open_metrics()
    assert found.names == [CROSS_VIEW, "fd-tiny"]
    assert set(found.skipped) == set(AUTO) - {"fd-tiny", CROSS_VIEW}
    assert all(why.startswith("skipped: ") and "WORLDMODEL_EXTRACTORS" in why for why in found.skipped.values())
    assert set(AUTO) == set(NAMES) - set(BY_NAME_ONLY), "what is asked for by name alone is no new default"
    assert "fvd-cdfvd" in open_metrics(["fvd-cdfvd"]).skipped
    with pytest.raises(InputError, match="metric fvd: unknown; there are fid,"):
        open_metrics(["fvd"])


def test_a_wrong_file_is_not_skipped(nowhere: Path) -> None:
    torch.save({}, nowhere / "pt_inception-2015-12-05-6726825d.pth")
    with pytest.raises(InputError, match="95,628,359 are published"):
        open_metrics(["fid"], paths={"fid": nowhere})


def test_listing(nowhere: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["weights"])
    weights.main()
    printed = capsys.readouterr().out
    assert all(file.names[0] in printed and file.identity in printed for file in PUBLISHED.values())
