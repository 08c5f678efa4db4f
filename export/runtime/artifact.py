"""An artifact's folder: its manifest and its files, each checked before it is used.

Shape legend: B clips (cameras), F frames, H height, W width, 3 colours.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldmodel.errors import InputError
from worldmodel.export.runtime.manifest import NAME, Manifest
from worldmodel.export.runtime.onnx_header import opset_of
from worldmodel.files import file_sha256


@dataclass(frozen=True)
class Artifact:
    """A folder that `worldmodel export` wrote, with its manifest."""

    folder: Path
    manifest: Manifest

    @staticmethod
    def open(folder: str | Path, prompt_sha256: str | None = None) -> "Artifact":
        """Read the manifest; files are checked when they are asked for.

        Args:
            prompt_sha256: the prompt that the caller expects to be baked in; None takes any.

        Raises:
            InputError: no artifact, a manifest that cannot be used (see `Manifest.read`), or another prompt.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; give the folder that `worldmodel export` wrote")
        manifest = Manifest.read(folder / NAME)
        baked = manifest.checkpoint.prompt_sha256
        if prompt_sha256 not in (None, baked):
            raise InputError(
                f"{folder}: its prompt has sha256 {baked[:12]}…, not {prompt_sha256[:12]}… as expected;"
                " export the checkpoint with the prompt that you mean"
            )
        return Artifact(folder, manifest)

    @property
    def decoder_parts(self) -> tuple[str, ...]:
        """The decoder's one part, or the streaming pair."""
        return ("decoder_first", "decoder_next") if self.manifest.streams else ("decoder",)

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that a prediction runs, in their order."""
        return ("encoder", "step", *self.decoder_parts)

    def onnx_files(self, parts: Iterable[str]) -> dict[str, Path]:
        """The ONNX file of each part, all of them checked: sha256 of graph and weights, and the opset.

        Raises:
            InputError: a file is missing, altered, or asks for another opset than the manifest says.
        """
        parts = tuple(parts)
        for name in self.manifest.files_of(*parts):
            check_sha256(self.folder / name, self.manifest.files[name], "copy or export the artifact again")
        files = {part: self.folder / self.manifest.parts[part].file for part in parts}
        for path in files.values():
            if (opset := opset_of(path)) != self.manifest.opset:
                raise InputError(
                    f"{path}: opset {opset}, its manifest says {self.manifest.opset}; export the artifact again"
                )
        return files

    def check_video(self, video: np.ndarray) -> None:
        """Raise `InputError` unless these are frames that the encoder takes: uint8 [B, F, H, W, 3]."""
        if video.dtype == np.uint8 and self._takes(video.shape):
            return
        shape = ", ".join(map(str, self.manifest.parts["encoder"].inputs[0].shape))
        raise InputError(
            f"video of {video.dtype} {list(video.shape)}: this artifact takes uint8 [{shape}] (cameras, frames, height,"
            " width, RGB); cut and scale the frames, or export for this shape"
        )

    def _takes(self, shape: tuple[int, ...]) -> bool:
        """Whether a video has the artifact's shape or, where that is free, whole numbers of latents."""
        manifest = self.manifest
        if not manifest.dynamic or len(shape) != 5 or shape[-1] != 3 or 0 in shape:
            return shape == manifest.video_shape
        _, latent_frames, latent_h, latent_w = manifest.latents
        per_latent = (manifest.frames - 1) // max(1, latent_frames - 1) or 1
        pixels_h, pixels_w = manifest.height // latent_h, manifest.width // latent_w
        return (shape[1] - 1) % per_latent == 0 and shape[2] % pixels_h == 0 and shape[3] % pixels_w == 0


def check_sha256(path: Path, expected: str, remedy: str) -> None:
    """Raise `InputError` unless the file is there and has this sha256."""
    if not path.is_file():
        raise InputError(f"{path}: missing; {remedy}")
    if file_sha256(path) != expected:
        raise InputError(f"{path}: altered or incomplete, its sha256 is not the one noted for it; {remedy}")
