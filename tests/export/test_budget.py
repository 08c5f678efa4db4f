"""FLOPs against measured ones, and floors against arithmetic by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import small_artifact as small

from worldmodel.cli.commands.export_budget import budget
from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.budget import BudgetConfig, Job, chosen, floor_of, job_of, part_limits
from worldmodel.export.chips import CHIPS, Chip
from worldmodel.export.flops import work_of_artifact, work_of_family, work_of_file
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.measure.flops import PartWork

CHIP = Chip("test", 8, bandwidth=1e9, peak={"fp16": 1e12, "int8": 4e12}, known="by hand")
HALF = PartWork(flops=2e12, linear_flops=1e12, weights=10**9, linear_weights=9 * 10**8, io_bytes=10**6)

# Measured when the exporter was designed: TFLOP of encoder, one step without guidance and decoder of the real modules.
MEASURED = {
    ("ltx", (17, 256, 384)): (5.2, 1.04, 2.3),
    ("ltx", (41, 256, 384)): (12.0, 2.05, 5.2),
    ("wan", (17, 240, 416)): (8.7, 5.9, 14.6),
}


@pytest.mark.parametrize(("family", "size"), MEASURED, ids=str)
def test_counted_work_is_what_was_measured(family: str, size: tuple[int, int, int]) -> None:
    tokens = {"ltx": 128, "wan": 512}[family]  # as they were measured, with whole prompts
    work = work_of_family(family, size, prompt_tokens=tokens, baked=False)
    for part, tera in zip(("encoder", "step", "decoder"), MEASURED[family, size], strict=True):
        assert work[part].flops / 1e12 == pytest.approx(tera, rel=0.05), part


def test_a_baked_prompt_saves_what_it_makes_constant() -> None:
    size = (17, 256, 384)
    plain = work_of_family("ltx", size, baked=False)["step"]
    one, many = (work_of_family("ltx", size, prompt_tokens=tokens)["step"] for tokens in (1, 128))
    # 28 blocks, width 2048: queries and outputs of cross-attention over 288 tokens
    assert plain.flops - one.flops == pytest.approx(28 * 2 * (2 * 288 * 2048**2 + 2 * 2048**2), rel=0.02)
    assert plain.weights / 1e6 == pytest.approx(1923.4, abs=0.1)
    assert one.weights / 1e6 == pytest.approx(1923.4 - 470.0 - 12.6, abs=0.2)
    assert one.flops < many.flops
    assert 0.95 < one.linear_flops / (one.flops * 24 / 28) < 1  # two of 28 blocks at either end stay wide


def test_cameras_and_guidance_are_rows() -> None:
    size = (17, 256, 384)
    one, six = work_of_family("ltx", size), work_of_family("ltx", size, cameras=6, guided=True)
    assert six["step"].flops == pytest.approx(12 * one["step"].flops, rel=0.001)
    assert six["encoder"].flops == pytest.approx(6 * one["encoder"].flops, rel=0.001)
    assert six["step"].weights == one["step"].weights


def test_graphs_are_counted_by_hand(tmp_path: Path) -> None:
    small.write_artifact(tmp_path / "artifact")
    work = work_of_artifact(Artifact.open(tmp_path / "artifact"))
    places = small.B * small.f * small.h * small.w
    assert work["step"].flops == 2 * places * small.c * small.c
    assert work["encoder"].flops == 2 * places * 3 * small.c
    assert work["step"].io_bytes == 2 * 4 * small.c * places + 4
    assert work["step"].weights == small.c**2


def test_convolutions_and_products_of_a_graph(tmp_path: Path) -> None:
    import numpy as np
    import onnx
    from onnx import numpy_helper

    text = """
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[2,3,4,8,8] x, float[5,7] a) => (float[2,6,4,8,8] y, float[7,9] p)
    { y = Conv<pads = [1,1,1,1,1,1]>(x, W)  p = Gemm<transA = 1>(a, M) }
    """
    model = onnx.parser.parse_model(text)
    for name, shape in (("W", (6, 3, 3, 3, 3)), ("M", (5, 9))):
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    onnx.save(onnx.shape_inference.infer_shapes(model), str(tmp_path / "g.onnx"))
    found = work_of_file(tmp_path / "g.onnx")
    assert found.flops == 2 * (2 * 6 * 4 * 8 * 8) * 3 * 27 + 2 * 7 * 9 * 5
    assert found.weights == 6 * 3 * 27 + 45


def test_free_shapes_cannot_be_counted(tmp_path: Path) -> None:
    import onnx

    text = '<ir_version: 10, opset_import: ["" : 20]>\ng (float[N,4] x) => (float[N,4] y) { y = MatMul(x, x) }'
    onnx.save(onnx.parser.parse_model(text), str(tmp_path / "g.onnx"))
    with pytest.raises(InputError, match="has no fixed shape; count an artifact exported with dynamic=false"):
        work_of_file(tmp_path / "g.onnx")


def test_floors_by_hand() -> None:
    assert part_limits(CHIP, HALF, "fp16") == pytest.approx({"compute": 2.0, "memory": 2.001})
    assert part_limits(CHIP, HALF, "int8") == pytest.approx({"compute": 1.25, "memory": 1.101})
    small_part = PartWork(1e12, 0, 0, 0, 0)
    job = Job(
        {"encoder": small_part, "step": HALF, "decoder": small_part},
        {"encoder": "fp16", "step": "int8", "decoder": "fp16"},
        {"encoder": 1, "step": 4, "decoder": 1},
        lasts=3.5,
    )
    floor = floor_of(CHIP, job)
    assert (floor.chunk, floor.latent_chunk) == pytest.approx((7.0, 6.0))
    assert floor.real_time_share == pytest.approx(2.0) and floor.weights_gb == pytest.approx(1.1)
    assert floor.bound["step"] == "compute" and job.flops == pytest.approx(10e12)
    assert floor_of(CHIP, replace(job, precision=job.precision | {"step": "fp8"})).lacks == "fp8"


def test_the_verb_answers_from_a_size_alone(capsys: pytest.CaptureFixture[str]) -> None:
    words = "family=ltx frames=17 height=256 width=384 steps=5 cameras=6 precision=fp8 chip=[Orin,Thor]"
    assert main(["export", "budget", *words.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ltx, 6 x 17 frames of 256x384, 5 steps: ")
    rows = [line for line in lines if line.startswith("| Jetson")]
    assert len(rows) == 3 and "no fp8" in rows[0] and "%" in rows[2]
    said = json.loads(lines[-1])
    assert said["real_time_seconds"] == pytest.approx(17 / 12, abs=1e-3)
    assert list(said["chunk_seconds"]) == ["Jetson AGX Thor (T5000)"]


def test_the_verb_counts_an_artifact(tmp_path: Path) -> None:
    small.write_artifact(tmp_path / "artifact", streams=True)
    job, title = job_of(BudgetConfig(artifact=str(tmp_path / "artifact"), steps=3))
    assert job.runs == {"encoder": 1, "step": 3, "decoder_first": 1, "decoder_next": small.f - 1}
    assert title.endswith("3 steps") and job.lasts == pytest.approx(small.F / 12)
    assert all(floor.chunk > 0 for floor in budget(BudgetConfig(artifact=str(tmp_path / "artifact"))))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"frames": 18}, r"18 frames: this backbone needs 8k\+1; use 17 or 25"),
        ({"steps": 0}, "steps=0: use at least 1"),
        ({"frame_rate": 0.0}, r"frame_rate=0\.0: use a number above 0"),
        ({"chip": ("Xavier",)}, r"chip=\[Xavier\]: choose of Jetson AGX Orin 32 GB"),
    ],
    ids=str,
)
def test_wrong_input_is_one_sentence(keys: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        budget(BudgetConfig(**keys))


def test_every_chip_says_how_it_is_known() -> None:
    assert all(chip.known and chip.rate("fp16") for chip in CHIPS)
    assert [chip.name for chip in chosen(("orin",))] == ["Jetson AGX Orin 32 GB", "Jetson AGX Orin 64 GB"]
