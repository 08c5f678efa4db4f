"""The weights of extractors are hashed by one process of a launch; what is run is checked by each that runs it."""

import json
from pathlib import Path

import pytest
from launched import launched

from worldmodel.benchmarks.metrics import weights
from worldmodel.benchmarks.metrics.hashes import hashed_once, known_hash
from worldmodel.errors import InputError
from worldmodel.files import file_sha256

FILES = {"inception": "plain.pth", "i3d-videogpt": "plain.pth", "i3d-styleganv": "program.pt"}


def hashed(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the files that this process read to hash them, and the hashes that it was given."""
    read: list[str] = []
    own = weights.file_sha256

    def watched(path: Path) -> str:
        read.append(path.name)
        return own(path)

    with pytest.MonkeyPatch.context() as patch, hashed_once():
        patch.setattr(weights, "file_sha256", watched)
        found = [weights.find_weights(name, folder / file, checked=False).sha256 for name, file in FILES.items()]
    return read, found


def refused(folder: Path) -> str:
    """What every process says of a file that is not the published one."""
    try:
        with hashed_once():
            weights.find_weights("inception", folder / "plain.pth")
    except InputError as error:
        return str(error)
    return ""


def of_one_process(rank: int, folder: Path) -> None:
    said = [*hashed(folder), refused(folder)]
    (folder / f"{rank}.json").write_text(json.dumps(said))


def test_one_process_hashes_for_all(tmp_path: Path) -> None:
    for name in set(FILES.values()):
        (tmp_path / name).write_bytes(name.encode())
    launched(of_one_process, tmp_path)
    hashes = [file_sha256(tmp_path / name) for name in FILES.values()]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first[:2] == [["plain.pth", "program.pt"], hashes], "a file of two extractors is read once"
    assert second[:2] == [["program.pt"], hashes], "what is run is not taken on another's word"
    assert "9 bytes, 95,628,359 are published" in first[2] and second[2] == first[2]


def test_another_file_is_hashed_where_it_lies(tmp_path: Path) -> None:
    path = tmp_path / "plain.pth"
    path.write_bytes(b"some")
    with hashed_once():
        assert known_hash("sha256", path, file_sha256) == file_sha256(path)
        path.write_bytes(b"others")
        assert known_hash("sha256", path, file_sha256) == file_sha256(path)
