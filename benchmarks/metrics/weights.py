"""Finds the weight files of feature extractors, and lets none pass whose content is not the published one.

    python -m worldmodel.benchmarks.metrics.weights             what is here, what is missing and where it is to be had
    python -m worldmodel.benchmarks.metrics.weights --fetch inception

Looked for in this order: the path that is given; the folder that `WORLDMODEL_EXTRACTORS` names; the caches of torch hub
and of the Hugging Face hub; a download, only if that is asked for. Size and hash are checked before anything is loaded.
"""

import argparse
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from worldmodel.benchmarks.metrics.hashes import known_hash
from worldmodel.errors import InputError
from worldmodel.files import expanded, file_digest, file_sha256, written_whole

FOLDER_VARIABLE = "WORLDMODEL_EXTRACTORS"


@dataclass(frozen=True)
class WeightFile:
    """A published file.

    Attributes:
        names: of the file, the same content under each.
        size: in bytes; 0 where it is not published.
        sha256: as many leading digits of it as are published.
        url: where it comes from.
        licence: of the weights.
        git: SHA-1 of its git blob, where no sha256 is published.
        program: whether loading it runs what it holds (TorchScript).
    """

    names: tuple[str, ...]
    size: int
    sha256: str
    url: str
    licence: str
    git: str = ""
    program: bool = False

    @property
    def identity(self) -> str:
        """What its content is checked against, for people."""
        return f"sha256 {self.sha256}" if self.sha256 else f"git blob {self.git}"


_STYLEGANV = "common_metrics_on_video_quality/raw/main/fvd/styleganv/i3d_torchscript.pt"
_VIDEOGPT = "common_metrics_on_video_quality/raw/main/fvd/videogpt/i3d_pretrained_400.pt"
PUBLISHED: dict[str, WeightFile] = {
    "inception": WeightFile(
        ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth"),
        95_628_359,
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "Apache-2.0",
    ),
    "i3d-videogpt": WeightFile(
        ("i3d_pretrained_400.pt",),
        0,
        "",
        f"https://github.com/JunyaoHu/{_VIDEOGPT}",
        "Apache-2.0 (DeepMind I3D)",
        git="a867b87ac3a9097d200598b1d48a1b890d8ec744",
    ),
    "i3d-styleganv": WeightFile(
        ("i3d_torchscript.pt",),
        51_235_320,
        "bec6519f66ea534e953026b4ae2c65553c17bf105611c746d904657e5860a5e2",
        f"https://github.com/JunyaoHu/{_STYLEGANV}",
        "Apache-2.0 (DeepMind I3D)",
        git="93daef59c7ae0e9e8f76225521407e60cbafa6aa",
        program=True,
    ),
    "lpips-alex": WeightFile(
        ("alexnet-owt-7be5be79.pth",),
        0,
        "7be5be79",
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "BSD-3-Clause",
    ),
    "lpips-vgg": WeightFile(
        ("vgg16-397923af.pth",),
        553_433_881,
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        "BSD-3-Clause",
    ),
}


class WeightsNotFound(InputError):
    """The weights of an extractor are not on this machine: the metric is skipped by name, the others go on."""


@dataclass(frozen=True)
class Found:
    """A weight file that passed: its path and the sha256 of its content."""

    path: Path
    sha256: str


def find_weights(
    extractor: str, path: Path | None = None, sha256: str | None = None, checked: bool = True, download: bool = False
) -> Found:
    """The weight file of an extractor, checked.

    Args:
        extractor: a key of `PUBLISHED`.
        path: the file, or the folder that holds it; nowhere else is looked then.
        sha256: of the given `path`, where its content is not the published one.
        checked: False takes the given `path` whatever its content is; figures carry its true hash.
        download: fetch it into torch hub's cache, should it be nowhere.

    Raises:
        WeightsNotFound: it is nowhere.
        InputError: size or hash is another, or `sha256` or `checked` is given without `path`.
    """
    file = PUBLISHED[extractor]
    if path is None and (sha256 or not checked):
        raise InputError(f"{extractor}: another content than the published one is taken from a given path only")
    place = next((place for place in _places(file, path) if place.is_file()), None)
    if place is None and download:
        place = fetch(extractor)
    if place is None:
        raise WeightsNotFound(_absent(extractor, file, path))
    # What is run is hashed by the process that runs it, just before: a safety check does not take another's word.
    actual = file_sha256(place) if file.program else known_hash("sha256", place, file_sha256)
    if checked:
        _refuse_other_content(place, actual, file, sha256)
    return Found(place, actual)


def fetch(extractor: str) -> Path:
    """Download the published file into torch hub's cache; content that differs never gets its name there."""
    import torch

    file = PUBLISHED[extractor]
    path = _hub_folder() / file.names[0]
    with written_whole(path) as part:
        try:
            torch.hub.download_url_to_file(file.url, str(part), progress=True)
        except OSError as error:
            raise InputError(f"{file.url}: {error}; download it elsewhere, put it into ${FOLDER_VARIABLE}") from None
        _refuse_other_content(part, file_sha256(part), file, None)
    return path


def _places(file: WeightFile, path: Path | None) -> list[Path]:
    if path is not None:
        path = expanded(path)
        return [path / name for name in file.names] if path.is_dir() else [path]
    named = os.environ.get(FOLDER_VARIABLE)
    folders = [expanded(named)] if named else []
    places = [folder / name for folder in [*folders, _hub_folder()] for name in file.names]
    cache = _hugging_face_cache()
    return places + [place for name in file.names for place in sorted(cache.glob(f"models--*/snapshots/*/{name}"))]


def _hub_folder() -> Path:
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def _hugging_face_cache() -> Path:
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def _absent(extractor: str, file: WeightFile, path: Path | None) -> str:
    where = f"not at {path}" if path is not None else f"in no cache and not in the folder ${FOLDER_VARIABLE}"
    size = f"{file.size:,} bytes, " if file.size else ""
    return (
        f"{file.names[0]} ({size}{file.identity}) is {where}; get it from {file.url} or by "
        f"`python -m worldmodel.benchmarks.metrics.weights --fetch {extractor}`, or set {FOLDER_VARIABLE} to its folder"
    )


def _refuse_other_content(path: Path, actual: str, file: WeightFile, sha256: str | None) -> None:
    remedy = "download it again, or give its own sha256 with its path"
    size = path.stat().st_size
    if sha256 is not None:
        if actual != sha256.lower():
            raise InputError(f"{path}: sha256 {actual}, given was {sha256}; give the file that belongs to it")
    elif file.size and size != file.size:
        raise InputError(f"{path}: {size:,} bytes, {file.size:,} are published; {remedy}")
    elif file.sha256 and not actual.startswith(file.sha256):
        raise InputError(f"{path}: sha256 {actual}, published is {file.sha256}; {remedy}")
    elif not file.sha256 and known_hash("git blob", path, _git_blob) != file.git:
        raise InputError(f"{path}: not the published content (git blob {file.git}); {remedy}")


def _git_blob(path: Path) -> str:
    return file_digest(path, hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetch", choices=[*PUBLISHED, "all"], help="download one into torch hub's cache")
    chosen = parser.parse_args()
    for extractor in PUBLISHED:
        try:
            print(f"{extractor}: {find_weights(extractor, download=chosen.fetch in (extractor, 'all')).path}")
        except InputError as error:
            print(f"{extractor}: {error}")


if __name__ == "__main__":
    main()
