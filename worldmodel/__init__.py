"""worldmodel: from observed camera frames to future frames.

Ten names, each loaded when it is first used, so that `worldmodel --help` answers at once::

    import worldmodel

    pipeline = worldmodel.open_pipeline("tiny")
    index = worldmodel.open_index("/datasets/nuscenes", "v1.0-mini")
    pair = worldmodel.chunk_pairs(index, split="mini_val", size=(128, 192))[0]
    future = pipeline(pair.observed_NFCHW, num_inference_steps=5, frame_rate=12).frames

`predict`, `train`, `benchmark` and `export_pipeline` take the settings of the verbs of the same name, as dataclasses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from worldmodel.version import __version__ as __version__

if TYPE_CHECKING:
    from worldmodel.benchmarks.suites.run import benchmark
    from worldmodel.cli.commands.predict import predict
    from worldmodel.datasets.nuscenes import chunk_pairs, open_index
    from worldmodel.export.exporting import export as export_pipeline
    from worldmodel.models.open import open_pipeline
    from worldmodel.models.pipeline import FlowFramesPipeline
    from worldmodel.training import train
    from worldmodel.viewing import Rollout, write_recording

__all__ = [
    "FlowFramesPipeline",
    "Rollout",
    "benchmark",
    "chunk_pairs",
    "export_pipeline",
    "open_index",
    "open_pipeline",
    "predict",
    "train",
    "write_recording",
]

_PLACES = {
    "FlowFramesPipeline": "worldmodel.models.pipeline:FlowFramesPipeline",
    "Rollout": "worldmodel.viewing:Rollout",
    "benchmark": "worldmodel.benchmarks.suites.run:benchmark",
    "chunk_pairs": "worldmodel.datasets.nuscenes:chunk_pairs",
    "export_pipeline": "worldmodel.export.exporting:export",  # `worldmodel.export` is the room
    "open_index": "worldmodel.datasets.nuscenes:open_index",
    "open_pipeline": "worldmodel.models.open:open_pipeline",
    "predict": "worldmodel.cli.commands.predict:predict",
    "train": "worldmodel.training:train",
    "write_recording": "worldmodel.viewing:write_recording",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'worldmodel' has no name {name!r}; it has {', '.join(__all__)}")
    module, _, attribute = _PLACES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
