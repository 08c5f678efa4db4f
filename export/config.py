"""The keys of `worldmodel export`."""

from dataclasses import dataclass
from typing import Literal

from worldmodel.conventions import ConventionsName
from worldmodel.export.check.targets import TargetName
from worldmodel.export.runtime.manifest_fields import PrecisionName
from worldmodel.settings import Count, Counts, NotNegative, Positive, Settings, Share, Text


@dataclass(frozen=True)
class ExportConfig(Settings):
    """What to export, for which chunks, in which numbers, and where to put it.

    Attributes:
        checkpoint: a shipped one by name (tiny), the folder of a saved pipeline, official weights, or a hub id.
        transformer: folder of one that was trained alone; it takes the place of the checkpoint's own.
        conventions: paper, or published for what FlowC2S's code computes (docs/parity.md); the checkpoint's own by
            default.
        out: folder of the artifact; it appears when it is complete.
        frames: of a chunk; by default as many as the checkpoint was trained on, else 17.
        height, width: of a frame; by default those trained on, else 256 x 384 (Wan 240 x 416).
        cameras: clips that are predicted at once.
        frame_rate: frames per second that the cameras give; LTX's positions are in seconds.
        steps: numbers of network evaluations that the artifact can be run with; the first is its default.
        precision: of all parts; bf16, int8 and fp8 of the step only, and the VAE is in fp16 then: ONNX has no bf16
            convolution at the opset that vehicles read, and 8 bits gain nothing in three dimensions.
        encoder_precision, decoder_precision: of one half of the VAE, where it differs.
        target: the machine that it is for, orin, thor or x86 (see `export check`): what its chip cannot compute in is
            refused before anything is loaded.
        quantise_from: what an int8 or fp8 step computes in besides; fp32 is faster on a CPU.
        keep: further linears of the step that int8 and fp8 leave as they are, by name with * and ?.
        smoothing: strength of SmoothQuant for int8 and fp8, from 0 to 1; null leaves it out.
        rounding: linears whose input int8 would round by a larger share of its root mean square stay as they are; null
            quantises them all.
        calibration: a drive (as `source` of predict) whose clips say how large activations are: int8 and fp8 are scaled
            by them, and a layer that comes near the end of fp16 stays in fp32.
        calibration_batches: batches of clips taken from it.
        guidance: scale of classifier-free guidance, baked in; the checkpoint's own by default, and a no-op without a
            prompt.
        prompt_embeds, negative_prompt_embeds: .safetensors file with `embeds` [1, L, D] and perhaps `mask` [1, L].
        dynamic: graphs for any number of clips, frames, height and width; slower to export and to run.
        single_file: one more graph, single.onnx, from video to video with the loop of the default steps in it.
        wan_decoder: the chunk at once (sequence), or a latent frame at a time, which needs less memory (stream).
        self_test: note what ONNX Runtime predicts on a CPU, to compare with on the vehicle.
        weights: those of the checkpoint, or random ones of `family` in the published sizes (real), smaller (mid: some
            30 M) or very small (tiny), for time and memory.
        family, sizes: of random weights.
        overwrite: replace an earlier artifact in `out`.
    """

    checkpoint: Text = "tiny"
    transformer: Text | None = None
    conventions: ConventionsName | None = None
    out: Text = "outputs/export"
    frames: Count | None = None
    height: Count | None = None
    width: Count | None = None
    cameras: Count = 1
    frame_rate: Positive = 12.0
    steps: Counts = (5, 10)
    precision: PrecisionName = "fp16"
    encoder_precision: Literal["fp32", "fp16"] | None = None
    decoder_precision: Literal["fp32", "fp16"] | None = None
    target: TargetName | None = None
    quantise_from: Literal["fp32", "fp16"] = "fp16"
    keep: tuple[Text, ...] = ()
    smoothing: Share | None = 0.8
    rounding: Positive | None = 0.02
    calibration: Text | None = None
    calibration_batches: Count = 8
    guidance: NotNegative | None = None
    prompt_embeds: Text | None = None
    negative_prompt_embeds: Text | None = None
    dynamic: bool = False
    single_file: bool = False
    wan_decoder: Literal["sequence", "stream"] = "sequence"
    self_test: bool = True
    weights: Literal["checkpoint", "random"] = "checkpoint"
    family: Literal["ltx", "wan"] = "ltx"
    sizes: Literal["real", "mid", "tiny"] = "real"
    overwrite: bool = False
