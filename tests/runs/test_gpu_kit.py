"""The GPU kit on a CPU at small size: it packs, every stage gives figures, and nothing is lost when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from bare_machine import ABSENT, bare_interpreter

from worldmodel.errors import InputError  # noqa: F401  # the package is there before the kit's scripts are

KIT = Path(__file__).resolve().parents[2] / "runs" / "gpu"
RUN = """
import json, sys, time
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
there = [name for name in json.loads(sys.argv[1]) if find_spec(name) is not None]
assert not there, there
import torch
from lines import Lines
from plan import STAGES
from stage import Settings
for one in STAGES:
    rows = tuple(row for row in one.rows.split(",") if row)
    settings = Settings(rows, torch.device("cpu"), small=True, compile=True, until=time.perf_counter() + 600)
    import_module(one.module).work(Lines(Path(sys.argv[2]), one.name), settings)
"""


@pytest.fixture(scope="module", autouse=True)
def scripts():
    """The kit's scripts can be imported, as they import each other."""
    with pytest.MonkeyPatch.context() as patch:
        for folder in (KIT / "stages", KIT):
            patch.syspath_prepend(str(folder))
        yield


@pytest.fixture(scope="module")
def lines_file(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lines of all stages of the plan, run in one process without PyAV, Rerun and the others.

    torch.compile gives back what it is given: to compile the networks takes minutes here.
    """
    folder = tmp_path_factory.mktemp("gpu")
    command, bare = bare_interpreter(folder / "links", repository)
    path = os.pathsep.join([bare["PYTHONPATH"], str(KIT), str(KIT / "stages")])
    said = {"PYTHONPATH": path, "TORCHDYNAMO_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    words = [*command, "-c", RUN, json.dumps(ABSENT), str(folder / "lines.jsonl")]
    done = subprocess.run(words, capture_output=True, text=True, env=bare | said, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder / "lines.jsonl"


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def found(lines: list[dict], **wanted: object) -> list[dict]:
    return [line for line in lines if all(line.get(name) == value for name, value in wanted.items())]


def test_every_stage_gives_its_figures(lines_file: Path) -> None:
    lines = read(lines_file)
    assert not [line for line in lines if "error" in line]
    assert found(lines, what="product")[0]["tflop_per_s"] > 0 and found(lines, what="copy")[0]["gb_per_s"] > 0
    rows = [row for stage in import_module("plan").STAGES if stage.module == "memory" for row in stage.rows.split(",")]
    assert len(rows) == 7 and {line["row"] for line in found(lines, what="line")} == set(rows)
    for point in found(lines, what="volume"):  # on a busy machine rates say nothing, so none is compared
        stages = [point[f"{name}_mb"] for name in ("encode", "decode", "between")]
        assert point["peak_mb"] >= max(stages) and point["stage_of_peak"]
    measured = [line for line in found(lines, what="latency") if "skipped" not in line]
    ways = {(line["row"], line["way"], line["cameras"]) for line in measured}
    both = {("eager", 1), ("eager", 2), ("eager, VAE at once", 2), ("CUDA graph", 1), ("compiled", 1), ("compiled", 2)}
    assert {(row, *way) for row in ("flowframes_ltxv", "flowframes_wan") for way in both} <= ways
    assert {("flowframes_ltxv", "VAE compiled too, CUDA graph", cameras) for cameras in (1, 2)} <= ways
    assert ("ltxv_condition", "eager", 1) in ways
    assert {line["of"] for line in found(lines, what="kernels")} >= {"ltx transformer", "training step"}
    trained = {line["of"] for line in found(lines, what="row") if "step_s" in line}
    assert trained == {"FlowFrames step", "FlowFrames step, compiled", "plain diffusers"}
    assert all(line["of_ceiling"] > 0 for line in found(lines, what="row") if "step_s" in line)


def test_a_graph_gives_the_numbers_of_its_call() -> None:
    graphs = import_module("graphs")
    layer = torch.nn.Linear(3, 2)
    graphed = graphs.Graphed(lambda x, scale, also: (layer(x) * scale, also["y"] + 1), torch.device("cpu"))
    with torch.no_grad():
        for rows in (2, 4, 2):
            x, y = torch.randn(rows, 3), torch.randn(rows)
            got = graphed(x, 2.0, also={"y": y})
            torch.testing.assert_close(got, (layer(x) * 2.0, y + 1))
    assert len(graphed.captured) == 2


def test_the_report_sets_published_figures_beside(lines_file: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- gpu -->\nold\n<!-- /gpu -->\nafter\n")
    words = [sys.executable, str(KIT / "report.py"), str(lines_file), "--keep", "--results", str(tmp_path)]
    done = subprocess.run([*words, "--into", str(page)], capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-2000:]
    assert "memory slope, flowframes_ltxv / ltxv_condition" in done.stdout and "0.50 (published)" in done.stdout
    assert "onnxruntime" in done.stdout and "17 to 17 frames, flowframes_ltxv, 1 camera" in page.read_text()
    assert page.read_text().startswith("before\n") and "old" not in page.read_text()
    assert len(list(tmp_path.glob("*_gpu.*"))) == 2


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(KIT.parents[1]), "OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("moment", ['"proves": "Table 1, LTX rows', '"product"'])
def test_what_was_finished_is_there_when_it_is_killed(moment: str, tmp_path: Path) -> None:
    words = [sys.executable, str(KIT / "evidence.py"), "--out", str(tmp_path), "--device", "cpu", "--small"]
    process = subprocess.Popen(
        [*words, "--stages", "ceilings,memory-ltx"], stdout=subprocess.DEVNULL, env=environment()
    )
    file, until = tmp_path / "lines.jsonl", time.monotonic() + 400
    while not (file.is_file() and moment in file.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = read(file)  # every line is whole
    assert found(lines, stage="plan", what="ceilings")[0]["expected_s"] > 0
    assert moment in file.read_text() and not found(lines, what="done")
    time.sleep(0.2)
    kept = file.read_text()
    time.sleep(0.3)
    assert file.read_text() == kept, "a stage goes on without the one that started it"


def test_the_plan_fits_into_eight_minutes_by_measured_seconds(repository: Path) -> None:
    stages = import_module("plan").STAGES
    margin = import_module("evidence").MARGIN_S
    assert sum(stage.seconds for stage in stages) <= 480 - margin
    assert all(stage.seconds < stage.limit_s for stage in stages)
    seen = read(repository / "benchmarks" / "results" / "2026-11-28_gpu.jsonl")
    for name in ("ceilings", "memory-ltx", "memory-wan"):  # they do what they did
        (line,) = found(seen, stage="plan", what=name)
        (stage,) = [one for one in stages if one.name == name]
        assert stage.seen_s == line["wall_s"]


def test_a_stage_that_does_not_fit_is_left_out_and_said(tmp_path: Path) -> None:
    words = [sys.executable, str(KIT / "evidence.py"), "--out", str(tmp_path), "--device", "cpu", "--budget", "6"]
    subprocess.run([*words, "--stages", "memory-svd"], check=True, capture_output=True, env=environment())
    (line,) = [line for line in read(tmp_path / "lines.jsonl") if "skipped" in line]
    assert line["what"] == "memory-svd" and "are left" in line["skipped"]


def test_the_pack_is_whole_and_small(repository: Path, tmp_path: Path) -> None:
    if not (repository / ".git").exists():
        pytest.skip("pack.sh takes what git tracks, and this is no checkout")
    words = ["bash", str(KIT / "pack.sh"), str(tmp_path / "kit")]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"WHEELS": "none"})
    assert done.returncode == 0, done.stderr[-2000:]
    kit = tmp_path / "kit"
    assert (kit / "gpu" / "stages" / "latency.py").is_file() and (kit / "kit.json").is_file()
    package = kit / "package" / "worldmodel"
    assert (package / "benchmarks" / "suites" / "memory.py").is_file() and not (package / "benchmarks").is_symlink()
    assert (package / "checkpoints" / "tiny" / "vae" / "diffusion_pytorch_model.safetensors").stat().st_size > 1e6
    assert not list(kit.glob("package/**/transformer/*.safetensors"))


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Two tracks of a moving picture, packed."""
    from dataclasses import asdict

    from worldmodel.datasets.frame_store import StoredTrack

    tiny_data = import_module("tiny_data")
    tracks = [StoredTrack("toy-0000", "CAM_FRONT", 0, 12), StoredTrack("toy-0000", "CAM_BACK", 12, 13)]
    columns, frames = np.arange(96), np.arange(25)
    picture = (128 + 100 * np.sin((columns + 3 * frames[:, None]) / 9)).astype(np.uint8)
    store, out = tmp_path / "made", tmp_path / "films"
    store.mkdir()
    out.mkdir()
    np.save(store / "frames.npy", np.broadcast_to(picture[:, None, :, None], (25, 64, 96, 3)))
    card = {"identity": "waves", "frame_rate": 12.0, "tracks": [asdict(track) for track in tracks]}
    for folder in (store, out):
        (folder / "card.json").write_text(json.dumps(card))
    for number, track in enumerate(tracks):
        (out / f"{number:04d}.avif").write_bytes(tiny_data.film((store, track, 80)))
    return out


def test_films_come_back_as_a_frame_store(films: Path, tmp_path: Path) -> None:
    store = import_module("tiny_data").unpack(films, tmp_path / "store", 1)
    true = np.load(films.parent / "made" / "frames.npy")
    assert store.frames_SHW3.shape == true.shape and [track.frames for track in store.tracks] == [12, 13]
    assert np.abs(store.frames_SHW3.astype(int) - true).mean() < 4


def test_the_tiny_model_trains_from_films_and_goes_on(films: Path, tmp_path: Path) -> None:
    words = [sys.executable, str(KIT / "train_tiny.py"), "--data", str(films), "--work", str(tmp_path / "work")]
    words += ["--device", "cpu", "--frames", "5", "--stride", "2", "--batch", "2", "--base-steps", "2", "--steps", "2"]
    words += ["--save-every", "1", "--workers", "0", "--minutes", "60", "--out"]
    done = subprocess.run([*words, str(tmp_path / "out")], capture_output=True, text=True, env=environment())
    lines = read(tmp_path / "out" / "train.jsonl")
    assert done.returncode == 0 and not [line for line in lines if "error" in line], done.stderr[-2000:]
    assert [line["step"] for line in found(lines, what="run")] == [2, 2] and found(lines, what="kept")
    weights = tmp_path / "out" / "transformer.safetensors"
    assert weights.stat().st_size < 16e6 and (tmp_path / "out" / "flowframes.jsonl").is_file()
