"""`worldmodel export build`: TensorRT engines of an artifact, on the machine that will run them."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from worldmodel.export.engine_process import BuildRequest
from worldmodel.export.engines import (
    GIB,
    MODULE,
    TIMING_CACHE,
    build_part,
    chosen_parts,
    engine_folder,
    is_current,
    profile,
    this_machine,
    with_part,
)
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.engine_files import NAME, Build
from worldmodel.files import remove_partial
from worldmodel.settings import Positive, Settings, Text, within


@dataclass(frozen=True)
class BuildConfig(Settings):
    """What to build, and with how much memory.

    Attributes:
        artifact: folder that `worldmodel export` wrote.
        parts: of the artifact, such as [step]; by default all that a prediction runs.
        workspace_gb: limit of a builder's scratch memory; on a Jetson it comes out of the memory that the CPU uses too.
        level: how hard TensorRT searches for fast kernels, 0 to 5.
        timing_cache: keep the times of kernels beside the plans, so that building again takes seconds.
        again: build even what is there already.
    """

    artifact: Text
    parts: tuple[Text, ...] = ()
    workspace_gb: Positive = 4.0
    level: Annotated[int, within(0, 5)] = 3
    timing_cache: bool = True
    again: bool = False


def build(config: BuildConfig) -> Build:
    """Build what is missing; print a line a part and, last, a line of JSON.

    Raises:
        InputError: no artifact, an altered file, no TensorRT or GPU, a TensorRT too old, or a part that will not build.
            Parts that were finished before stay and are used by the next call.
    """
    artifact = Artifact.open(config.artifact)
    parts = chosen_parts(artifact, config.parts, artifact.parts)
    files = artifact.onnx_files(parts)
    machine = this_machine()
    folder, done = engine_folder(artifact.folder, machine)
    folder.mkdir(parents=True, exist_ok=True)
    remove_partial(folder)
    for part in parts:
        if not config.again and is_current(artifact, folder, done, part):
            print(f"{part}: there already, built from the same ONNX by TensorRT {machine.tensorrt}", flush=True)
            continue
        plan = folder / f"{part}.plan"
        request = BuildRequest(
            MODULE,
            str(files[part].resolve()),
            str(plan.resolve()),
            workspace_bytes=int(config.workspace_gb * GIB),
            timing_cache=str((folder / TIMING_CACHE).resolve()) if config.timing_cache else None,
            shapes=profile(artifact.manifest, part),
            level=config.level,
        )
        built = build_part(request)
        done = with_part(done, artifact, part, plan, built.seconds)
        done.write(folder / NAME)
        size, peak = f"{built.bytes / 1e6:.1f} MB", f"{built.peak_memory_mb:.0f} MB"
        print(f"{part}: {size} in {built.seconds:.0f} s, peak {peak}", flush=True)
    print(json.dumps({"engines": str(folder), **asdict(done)}))
    return done
