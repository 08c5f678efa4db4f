"""`manifest.json`: what an artifact is, how its parts are called and in which numbers its step loop runs.

Only the standard library is used here, so that every verb and every machine reads it alike.

The loop is linear (diffusers' Euler and UniPC are linear in the source and the velocities): with x_0 = x_source and
v_j = step(x_j, sigmas[j]),

    x_{i+1} = source[i] * x_source + sum over j <= i of velocity[i][j] * v_j        and x_N is the prediction.

A streaming decoder is two parts: `decoder_first` (latent frame 0) and `decoder_next` (each later one). What they
carry from call to call is matched by order: the outputs after `video` of either are the inputs after `latents` of
`decoder_next`. Their names are free.

Shape legend: B clips (cameras), F frames, H height, W width, 3 colours; C f h w latents; N steps.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from worldmodel.conventions import ConventionsName
from worldmodel.errors import InputError
from worldmodel.export.runtime.consistency import files_misfit, parts_misfit, ports_misfit, schedules_misfit
from worldmodel.export.runtime.manifest_fields import Checkpoint, Part, Precision, Schedule, SelfTest
from worldmodel.files import written_whole
from worldmodel.settings import from_document

NAME = "manifest.json"
SCHEMA = 1
AGAIN = "export the artifact again"
UNSEALED = "0" * 64


@dataclass(frozen=True)
class Manifest:
    """An artifact's description; the fields are the keys of `manifest.json`.

    Attributes:
        frames, height, width: of a chunk; `cameras`: clips at once (B). With `dynamic` those it was traced with.
        latents: [C, f, h, w].
        guidance: scale baked into the step, 1.0 where it evaluates one prompt only.
        schedules: number of steps, as text, to its loop.
        parts: "encoder", "step" and either "decoder" or "decoder_first" and "decoder_next"; "single" where there is
            one file that does all.
        files: sha256 of every file of the artifact but the manifest.
        self_test: None while it has not been measured.
        versions: of worldmodel, torch, diffusers and onnx at export.
        created: ISO date.
        conventions: what is baked in: paper, or published for what FlowC2S's code computes; see
            `worldmodel.conventions`. Manifests from before they were a choice say nothing, which is paper.
    """

    schema: int
    family: Literal["ltx", "wan", "tiny"]
    checkpoint: Checkpoint
    frames: int
    height: int
    width: int
    cameras: int
    frame_rate: float
    dynamic: bool
    latents: tuple[int, int, int, int]
    precision: Precision
    guidance: float
    opset: int
    schedules: dict[str, Schedule]
    default_steps: int
    parts: dict[str, Part]
    files: dict[str, str]
    self_test: SelfTest | None
    versions: dict[str, str]
    created: str
    conventions: ConventionsName = "paper"

    @property
    def video_shape(self) -> tuple[int, int, int, int, int]:
        """[B, F, H, W, 3]"""
        return self.cameras, self.frames, self.height, self.width, 3

    @property
    def streams(self) -> bool:
        """Whether the decoder is the streaming pair."""
        return "decoder_next" in self.parts

    def schedule(self, steps: int | None = None) -> Schedule:
        """The loop of this many steps (`default_steps` for None); `InputError` where the artifact has none of it."""
        schedule = self.schedules.get(str(self.default_steps if steps is None else steps))
        if schedule is None:
            offered = ", ".join(sorted(self.schedules, key=int))
            raise InputError(f"steps={steps}: this artifact holds schedules of {offered}; use one of them")
        return schedule

    def files_of(self, *parts: str) -> list[str]:
        """The files of these parts, weights beside them included; all parts for none."""
        names = [self.parts[part].file for part in parts or self.parts]
        return [name for file in names for name in (file, f"{file}.data") if name == file or name in self.files]

    def misfit(self) -> str | None:
        """What does not fit together, in words; None where all is well."""
        return (
            parts_misfit(self.parts)
            or ports_misfit(self.parts)
            or files_misfit(self.parts, self.files)
            or schedules_misfit(self.schedules, self.default_steps)
        )

    @staticmethod
    def read(path: str | Path) -> "Manifest":
        """The manifest in this folder, or of this name.

        Raises:
            InputError: not there, unreadable, changed since it was written, of another schema, with a key too many or
                too few, a value of another type, or with parts, files or schedules that do not fit together.
        """
        path = Path(path) / NAME if Path(path).is_dir() else Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file; give the folder that `worldmodel export` wrote")
        content = unsealed(path)
        schema = content.get("schema")
        if schema != SCHEMA:
            raise InputError(f"{path}: schema {schema}, this worldmodel reads schema {SCHEMA}; {AGAIN} with it")
        manifest = from_document(Manifest, content, str(path), AGAIN)
        if problem := manifest.misfit():
            raise InputError(f"{path}: {problem}; {AGAIN}")
        return manifest

    def write(self, path: str | Path) -> Path:
        """Write into this folder, or under this name, whole or not at all; the file's name.

        Raises:
            InputError: parts, files or schedules do not fit together.
        """
        if problem := self.misfit():
            raise InputError(f"manifest of {self.checkpoint.name}: {problem}; give values that fit together")
        path = Path(path) / NAME if Path(path).is_dir() else Path(path)
        with written_whole(path) as partial:
            partial.write_text(sealed(asdict(self)), encoding="utf-8")
        return path


def sealed(content: Mapping[str, object]) -> str:
    """JSON text whose key `sha256` is the sha256 of that very text with 64 zeros in the digest's place."""
    text = json.dumps({"sha256": UNSEALED, **content}, indent=1, allow_nan=False) + "\n"
    return text.replace(UNSEALED, hashlib.sha256(text.encode()).hexdigest(), 1)


def unsealed(path: Path) -> dict[str, Any]:
    """What `sealed` wrote; `InputError` where the text is no JSON object or its digest does not fit."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise InputError(f"{path}: not a JSON object; {AGAIN}")
    digest = content.pop("sha256", None)
    zeroed = text.replace(f'"sha256": "{digest}"', f'"sha256": "{UNSEALED}"', 1)
    if digest != hashlib.sha256(zeroed.encode()).hexdigest():
        raise InputError(f"{path}: was changed after it was written (its sha256 does not fit); {AGAIN}")
    return content
