"""A whole artifact in milliseconds: small ONNX graphs with the exporter's interface, and the same in numpy.

The encoder takes every fourth frame and the means of 8 x 8 blocks; the step's velocity is sigma * tanh(M latents) plus
the latents' mean over the cameras' columns; the decoder shows each latent frame, as blocks, until the next one comes,
fading from one to the other.

Shape legend: B cameras, F frames, H height, W width, C colours (3); c f h w latents.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
from onnx import numpy_helper

from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Checkpoint, Part, Port, Precision, Schedule
from worldmodel.files import file_sha256

B, F, H, W = 2, 9, 16, 24
c, f, h, w = 4, 3, 2, 3
PER_LATENT = 4
SHA = "ab" * 32
rng = np.random.default_rng(5)
IN = rng.normal(size=(3, c)).astype(np.float32)
MIX = rng.normal(size=(c, c)).astype(np.float32)
OUT = rng.normal(size=(c, 3)).astype(np.float32) / 2

ENCODER = f"""
<ir_version: 10, opset_import: ["" : 20]>
encoder (uint8[{B},{F},{H},{W},3] video) => (float[{B},{c},{f},{h},{w}] latents)
{{
  pixels = Cast<to = 1>(video)
  half = Constant<value_float = 127.5>()
  one = Constant<value_float = 1.0>()
  halves = Div(pixels, half)
  signed = Sub(halves, one)
  zero = Constant<value_ints = [0]>()
  end = Constant<value_ints = [{F}]>()
  frames = Constant<value_ints = [1]>()
  every = Constant<value_ints = [{PER_LATENT}]>()
  some = Slice(signed, zero, end, frames, every)
  blocks_shape = Constant<value_ints = [{B}, {f}, {h}, 8, {w}, 8, 3]>()
  blocks = Reshape(some, blocks_shape)
  inside = Constant<value_ints = [3, 5]>()
  means = ReduceMean<keepdims = 0>(blocks, inside)
  mixed = MatMul(means, IN)
  latents = Transpose<perm = [0, 4, 1, 2, 3]>(mixed)
}}
"""

STEP = f"""
<ir_version: 10, opset_import: ["" : 20]>
step (float[{B},{c},{f},{h},{w}] latents, float[1] sigma) => (float[{B},{c},{f},{h},{w}] velocity)
{{
  last = Transpose<perm = [0, 2, 3, 4, 1]>(latents)
  mixed = MatMul(last, MIX)
  bent = Tanh(mixed)
  first = Transpose<perm = [0, 4, 1, 2, 3]>(bent)
  scaled = Mul(first, sigma)
  columns = Constant<value_ints = [4]>()
  mean = ReduceMean<keepdims = 1>(latents, columns)
  velocity = Add(scaled, mean)
}}
"""

PICTURES = """
  last = Transpose<perm = [0, 2, 3, 4, 1]>(shown)
  coloured = MatMul(last, OUT)
  one = Constant<value_float = 1.0>()
  half = Constant<value_float = 0.5>()
  zero = Constant<value_float = 0.0>()
  full = Constant<value_float = 255.0>()
  halves = Mul(coloured, half)
  unit = Add(halves, half)
  inside = Clip(unit, zero, one)
  levels = Mul(inside, full)
  rounded = Round(levels)
  small = Cast<to = 2>(rounded)
  rows = Constant<value_ints = [3, 5]>()
  wide = Unsqueeze(small, rows)
  repeats = Constant<value_ints = [1, 1, 1, 8, 1, 8, 1]>()
  tiled = Tile(wide, repeats)
"""


def decoder_text() -> str:
    return f"""
<ir_version: 10, opset_import: ["" : 20]>
decoder (float[{B},{c},{f},{h},{w}] latents) => (uint8[{B},{F},{H},{W},3] video)
{{
  before = Gather<axis = 2>(latents, BEFORE)
  after = Gather<axis = 2>(latents, AFTER)
  old = Mul(before, KEEP)
  new = Mul(after, FADE)
  shown = Add(old, new)
  {PICTURES}
  shape = Constant<value_ints = [{B}, {F}, {H}, {W}, 3]>()
  video = Reshape(tiled, shape)
}}
"""


def streaming_text(first: bool) -> str:
    """The first latent frame gives one frame, each later one four; the latent frame before is carried in float16."""
    inputs = f"float[{B},{c},1,{h},{w}] latents" + ("" if first else f", float16[{B},{c},1,{h},{w}] seen")
    frames = 1 if first else PER_LATENT
    fading = "" if first else "old_frame = Cast<to = 1>(seen)\n  old = Mul(old_frame, KEEP)\n  new = Mul(latents, FADE)"
    shown = "Identity(latents)" if first else "Add(old, new)"
    left = "left" if first else "left_again"
    return f"""
<ir_version: 10, opset_import: ["" : 20]>
decoder ({inputs}) => (uint8[{B},{frames},{H},{W},3] video, float16[{B},{c},1,{h},{w}] {left})
{{
  {fading}
  shown = {shown}
  {left} = Cast<to = 10>(latents)
  {PICTURES}
  shape = Constant<value_ints = [{B}, {frames}, {H}, {W}, 3]>()
  video = Reshape(tiled, shape)
}}
"""


FADE = np.array([(k % PER_LATENT or PER_LATENT) / PER_LATENT if k else 1.0 for k in range(F)], np.float32)
BEFORE = np.array([0] + [(k - 1) // PER_LATENT for k in range(1, F)])
AFTER = np.array([0] + [(k - 1) // PER_LATENT + 1 for k in range(1, F)])


def save(path: Path, text: str, external: bool = False, **weights: np.ndarray) -> None:
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    onnx.checker.check_model(model, full_check=True)
    data = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 0} if external else {}
    onnx.save_model(model, str(path), **data)


def write_artifact(folder: Path, streams: bool = False) -> Manifest:
    """Write graphs and manifest into a new folder; the step's weights lie beside its graph."""
    folder.mkdir(parents=True)
    save(folder / "encoder.onnx", ENCODER, IN=IN)
    save(folder / "step.onnx", STEP, external=True, MIX=MIX)
    axes = (1, 1, -1, 1, 1)
    if streams:
        fade = FADE[1 : PER_LATENT + 1].reshape(axes)
        save(folder / "decoder_first.onnx", streaming_text(first=True), OUT=OUT)
        save(folder / "decoder_next.onnx", streaming_text(first=False), OUT=OUT, FADE=fade, KEEP=1 - fade)
    else:
        fade = FADE.reshape(axes)
        save(folder / "decoder.onnx", decoder_text(), OUT=OUT, FADE=fade, KEEP=1 - fade, BEFORE=BEFORE, AFTER=AFTER)
    manifest = manifest_of(folder, streams)
    manifest.write(folder)
    return manifest


def manifest_of(folder: Path, streams: bool) -> Manifest:
    latents, video = Port("latents", "float32", (B, c, f, h, w)), Port("video", "uint8", (B, F, H, W, 3))
    parts = {
        "encoder": Part("encoder.onnx", (video,), (latents,)),
        "step": Part("step.onnx", (latents, Port("sigma", "float32", (1,))), (replace(latents, name="velocity"),)),
    }
    if streams:
        one, memory = replace(latents, shape=(B, c, 1, h, w)), Port("seen", "float16", (B, c, 1, h, w))
        first, four = replace(video, shape=(B, 1, H, W, 3)), replace(video, shape=(B, PER_LATENT, H, W, 3))
        left, again = replace(memory, name="left"), replace(memory, name="left_again")
        parts["decoder_first"] = Part("decoder_first.onnx", (one,), (first, left))
        parts["decoder_next"] = Part("decoder_next.onnx", (one, memory), (four, again))
    else:
        parts["decoder"] = Part("decoder.onnx", (latents,), (video,))
    return Manifest(
        schema=1,
        family="tiny",
        checkpoint=Checkpoint("small", SHA, SHA, SHA),
        frames=F,
        height=H,
        width=W,
        cameras=B,
        frame_rate=12.0,
        dynamic=False,
        latents=(c, f, h, w),
        precision=Precision("fp32", "fp32", "fp32"),
        guidance=1.0,
        opset=20,
        schedules={"2": schedule(2), "5": schedule(5)},
        default_steps=5,
        parts=parts,
        files={path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        self_test=None,
        versions={"worldmodel": "0"},
        created="2025-01-01",
    )


def schedule(steps: int) -> Schedule:
    """Coefficients of no scheduler in particular, so that a wrong index shows."""
    numbers = np.random.default_rng(steps)
    velocity = tuple(tuple(numbers.normal(size=step + 1).tolist()) for step in range(steps))
    return Schedule(
        tuple(np.linspace(1, 1 / steps, steps).tolist()), tuple(numbers.uniform(0.5, 1.5, steps).tolist()), velocity
    )


def encoded(video_BFHWC: np.ndarray) -> np.ndarray:
    """The encoder in numpy: float64 [B, c, f, h, w]."""
    blocks = (video_BFHWC[:, ::PER_LATENT] / 127.5 - 1).reshape(B, f, h, 8, w, 8, 3)
    return np.moveaxis(blocks.mean(axis=(3, 5)) @ IN.astype(np.float64), -1, 1)


def velocity(latents_Bcfhw: np.ndarray, sigma: float) -> np.ndarray:
    """The step in numpy."""
    bent = np.tanh(np.moveaxis(latents_Bcfhw, 1, -1) @ MIX.astype(np.float64))
    return np.moveaxis(bent, -1, 1) * sigma + latents_Bcfhw.mean(axis=4, keepdims=True)


def flowed(source_Bcfhw: np.ndarray, steps: int) -> np.ndarray:
    """The loop in numpy, from the formula in `worldmodel.export.runtime.manifest`."""
    plan, velocities, latents = schedule(steps), [], source_Bcfhw
    for i in range(steps):
        velocities.append(velocity(latents, plan.sigmas[i]))
        latents = plan.source[i] * source_Bcfhw + sum(plan.velocity[i][j] * velocities[j] for j in range(i + 1))
    return latents


def decoded(latents_Bcfhw: np.ndarray) -> np.ndarray:
    """The decoder in numpy, before rounding: float64 levels [B, F, H, W, 3] within 0 to 255."""
    fade = FADE.reshape(1, 1, -1, 1, 1)
    shown = latents_Bcfhw[:, :, BEFORE] * (1 - fade) + latents_Bcfhw[:, :, AFTER] * fade
    unit = (np.moveaxis(shown, 1, -1) @ OUT.astype(np.float64)) * 0.5 + 0.5
    return unit.clip(0, 1).repeat(8, axis=2).repeat(8, axis=3) * 255


def drive(seed: int = 0) -> np.ndarray:
    """Observed frames, uint8 [B, F, H, W, 3]; blocks of 8 x 8, so that means of blocks keep their contrast."""
    blocks = np.random.default_rng(seed).integers(0, 256, (B, F, h, w, 3), dtype=np.uint8)
    return blocks.repeat(8, axis=2).repeat(8, axis=3)
