"""The keys of `worldmodel export verify`."""

from dataclasses import dataclass
from typing import Literal

from worldmodel.settings import Count, Settings, Text


@dataclass(frozen=True)
class VerifyConfig(Settings):
    """Which artifact, with which frames and in what.

    Attributes:
        artifact: folder that `worldmodel export` wrote; parity.json and parity.md are written into it.
        source: a drive whose clips are predicted, as `source` of predict; by default a moving texture.
        samples: batches of clips, as far as the drive has them.
        steps: of the artifact's numbers of steps, those to compare; by default all.
        checkpoint, transformer: the exported ones, where they are no longer where they were.
        prompt_embeds, negative_prompt_embeds: those of the export.
        backend: what runs the graphs; tensorrt needs `worldmodel export build` on this machine first.
        device: of onnxruntime.
        threads: of onnxruntime on the CPU; by default one a core.
    """

    artifact: Text
    source: Text | None = None
    samples: Count = 1
    steps: tuple[Count, ...] = ()
    checkpoint: Text | None = None
    prompt_embeds: Text | None = None
    negative_prompt_embeds: Text | None = None
    backend: Literal["onnxruntime", "tensorrt"] = "onnxruntime"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count | None = None
    transformer: Text | None = None
