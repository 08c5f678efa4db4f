"""Whether what a manifest says fits together; it names the first thing that does not, in words."""

import re
from collections.abc import Mapping
from pathlib import Path

from worldmodel.export.runtime.manifest_fields import Part, Schedule

PORTS = {
    "encoder": ({"video": "uint8"}, {"latents": "float32"}),
    "step": ({"latents": "float32", "sigma": "float32"}, {"velocity": "float32"}),
    "decoder": ({"latents": "float32"}, {"video": "uint8"}),
    "decoder_first": ({"latents": "float32"}, {"video": "uint8"}),
    "decoder_next": ({"latents": "float32"}, {"video": "uint8"}),
}
"""Inputs and outputs of each part with their dtypes; a streaming decoder's memory comes after these."""


def parts_misfit(parts: Mapping[str, Part]) -> str | None:
    """Another set of parts than a prediction needs."""
    names = set(parts) - {"single"}
    decoder = {"decoder"} if "decoder" in names else {"decoder_first", "decoder_next"}
    if names != {"encoder", "step"} | decoder:
        return f"parts are {', '.join(sorted(names))}, not encoder, step and decoder (or decoder_first, decoder_next)"
    return None


def ports_misfit(parts: Mapping[str, Part]) -> str | None:
    """A part whose inputs or outputs are others than `PORTS`, or a decoder's memory that does not match itself."""
    for name, (inputs, outputs) in PORTS.items():
        part = parts.get(name)
        for wanted, ports in ((inputs, part.inputs), (outputs, part.outputs)) if part else ():
            dtypes = {port.name: port.dtype for port in ports[: len(wanted)]}
            if dtypes != wanted or (len(ports) > len(wanted) and not name.startswith("decoder_")):
                return f"parts.{name} has {[port.name for port in ports]} where {', '.join(wanted)} belongs"
    return _memory_misfit(parts["decoder_first"], parts["decoder_next"]) if "decoder_next" in parts else None


def _memory_misfit(first: Part, following: Part) -> str | None:
    """A streaming decoder whose memory does not match itself from call to call."""
    memory = [
        [(port.dtype, port.shape) for port in ports[1:]]
        for ports in (following.inputs, first.outputs, following.outputs)
    ]
    if not memory[0] == memory[1] == memory[2] or len(first.inputs) != 1:
        return "parts.decoder_next does not take what decoder_first and it itself leave"
    return None


def files_misfit(parts: Mapping[str, Part], files: Mapping[str, str]) -> str | None:
    """A part without its file's sha256, or a name outside the folder."""
    for name, part in parts.items():
        if part.file not in files:
            return f"parts.{name}.file {part.file} has no sha256 in files"
    for name, digest in files.items():
        if Path(name).is_absolute() or ".." in Path(name).parts or not re.fullmatch("[0-9a-f]{64}", digest):
            return f"files.{name} is not the sha256 of a file within the artifact"
    return None


def schedules_misfit(schedules: Mapping[str, Schedule], default_steps: int) -> str | None:
    """A schedule of another length than its name, or none of the default's."""
    for steps, schedule in schedules.items():
        lengths = [len(row) for row in schedule.velocity]
        if lengths != list(range(1, len(lengths) + 1)) or not (
            str(len(schedule.sigmas)) == str(len(schedule.source)) == str(len(lengths)) == steps
        ):
            return f"schedules.{steps} needs {steps} sigmas, as many source coefficients and rows of 1 to {steps}"
    if str(default_steps) not in schedules:
        return f"default_steps {default_steps} has no schedule"
    return None
