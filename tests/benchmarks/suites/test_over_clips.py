"""suite=quality from clips to the table: equal whoever does it, whatever happens on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from worldmodel.benchmarks.clips import Clip, ClipsConfig, View, clip_list
from worldmodel.benchmarks.clips.documents import write_clip_list
from worldmodel.benchmarks.methods.registry import METHODS
from worldmodel.benchmarks.suites.config import BenchmarkConfig, Rows
from worldmodel.benchmarks.suites.context import open_context
from worldmodel.benchmarks.suites.folder import BenchmarkFolder
from worldmodel.benchmarks.suites.results import read_results
from worldmodel.benchmarks.suites.run import benchmark
from worldmodel.benchmarks.suites.table import ResultsTable
from worldmodel.cli.commands.benchmark_compare import CompareConfig, compare
from worldmodel.cli.main import main
from worldmodel.errors import InputError


def words(config: BenchmarkConfig, **more: object) -> list[str]:
    """The same as a command line."""
    given = [
        f"methods.{label}.{key}={_said(value)}"
        for label, entry in config.methods.items()
        for key, value in entry.items()
    ]
    said = {"root": config.root, "out": config.out, "references": config.references, "recordings": "false"}
    said |= {"clips": config.clips, "most_clips": config.most_clips, **more}
    return ["benchmark", *given, *(f"{key}={value}" for key, value in said.items())]


def _said(value: object) -> str:
    return json.dumps(value).replace(" ", "").strip('"')


def launch(arguments: list[str], processes: int = 1) -> subprocess.Popen:
    start = [sys.executable, "-m", "worldmodel"]
    if processes > 1:  # a launcher that does not say that this is a machine without a GPU
        launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        start = [sys.executable, "-m", *launcher, "-m", "worldmodel"]
    return subprocess.Popen([*start, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="session")
def undisturbed(toy_root: Path, two_cameras: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark."""
    methods = {
        "flowframes": {"checkpoint": "tiny", "steps": 1, "size": [32, 48]},
        "floor": {"method": "repeat_last", "size": [32, 48]},
    }
    folder = tmp_path_factory.mktemp("undisturbed")
    out, references = str(folder / "out"), str(folder / "references")
    places = {"root": str(toy_root), "clips": two_cameras, "out": out, "references": references}
    benchmark(BenchmarkConfig(methods=methods, **places, most_clips=3, recordings=False))
    return folder / "out"


def test_the_table(undisturbed: Path) -> None:
    results = read_results(undisturbed)
    rows = {row.label: row for row in results.rows}
    assert results.clips["name"] == "toyworld-val@2" and (results.clips["count"], results.clips["of"]) == (3, 4)
    assert set(rows) == {"flowframes", "floor"}
    for row in rows.values():
        assert row.figures["FD[worldmodel-tiny-vae]"].value > 0 and len(row.by_camera["FD[worldmodel-tiny-vae]"]) == 2
        assert 5 < row.figures["PSNR"].value < 40 and row.figures["PSNR"].spread > 0
        assert len(row.by_frame["PSNR"]) == 17 and len(row.by_camera["SSIM"]) == 2
        assert sum(row.by_frame["PSNR"]) / 17 == pytest.approx(row.figures["PSNR"].value)
    assert rows["flowframes"].evaluations["guided_evals"] == 1
    assert "fid" in results.skipped and "inception" in results.skipped["fid"]
    assert len(rows["flowframes"].weights["transformer"]) == 64
    assert "patches" in results.skipped["cross-view of floor"]  # pictures of 96 x 54 pixels hardly overlap
    assert results.metrics["FD[worldmodel-tiny-vae]"].protocol["preprocessing"] == "32x48 area"
    floor = rows["floor"].by_frame["PSNR"]
    assert floor[0] > floor[-1]
    page = (undisturbed / "report.md").read_text()
    assert "PSNR [dB] ↑" in page and "licences" in page
    assert (undisturbed / "plots.png").stat().st_size > 10_000


def test_two_processes_share_the_clips_and_give_the_same(undisturbed: Path, quick: BenchmarkConfig) -> None:
    run = launch(words(quick), processes=2)
    out, error = run.communicate(timeout=300)
    assert run.returncode == 0, error[-2000:]
    assert read_results(quick.out).comparable() == read_results(undisturbed).comparable()
    assert json.loads(out.strip().splitlines()[-1])["flowframes"]
    assert out.count('"results": ') == 1, "each process took itself for the only one"


def test_killed_and_resumed_gives_the_same(undisturbed: Path, quick: BenchmarkConfig) -> None:
    run = launch(words(quick))
    predictions = Path(quick.out) / "rows" / "flowframes" / "predictions"
    while run.poll() is None and not list(predictions.glob("0*.safetensors")):
        time.sleep(0.02)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    assert not (Path(quick.out) / "results.json").exists()
    with pytest.raises(InputError, match="resume=true or overwrite=true"):
        benchmark(quick)
    with pytest.raises(InputError, match="begun with other seed"):
        benchmark(replace(quick, resume=True, seed=1))
    benchmark(replace(quick, resume=True))
    assert read_results(quick.out).comparable() == read_results(undisturbed).comparable()
    assert not [path for path in Path(quick.out).rglob("*") if "partial" in path.name]


def test_true_frames_are_seen_once(undisturbed: Path, quick: BenchmarkConfig) -> None:
    again = replace(quick, references=str(undisturbed.parent / "references"))
    results = benchmark(again)
    assert results is not None and results.comparable() == read_results(undisturbed).comparable()
    assert (undisturbed / "truth").is_dir() and not (Path(quick.out) / "truth").exists()
    benchmark(replace(again, out=f"{quick.out}-part", most_clips=2))
    assert (Path(f"{quick.out}-part") / "truth").is_dir()  # of other clips


def test_a_method_without_its_weights_is_left_out_by_name(quick: BenchmarkConfig) -> None:
    methods = {"floor": quick.methods["floor"], "vista": {"weights": "nowhere/vista.safetensors"}}
    results = benchmark(replace(quick, methods=methods, metrics=()))
    assert results is not None and [row.label for row in results.rows] == ["floor"]
    assert "vista.safetensors" in results.skipped["vista"]


def vista_val(root: Path, path: Path) -> str:
    """A list like vista-val, one frame given and 24 to predict, of the toy world's front camera."""
    whole = clip_list(ClipsConfig(list="toyworld-val", root=str(root)))
    views = [View(v.camera, v.frames[:25], v.start_token, v.timestamps_us[:25]) for v in (c.lead for c in whole.clips)]
    clips = tuple(Clip(clip.scene, (view,)) for clip, view in zip(whole.clips, views, strict=True))
    write_clip_list(replace(whole, name="short-val", version=1, frames=25, observed_frames=1, clips=clips), path)
    return str(path)


def test_a_row_that_needs_other_frames_is_left_out_by_name(
    quick: BenchmarkConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fits = {"vista": {"weights": "random", "sizes": "tiny", "size": [64, 128], "steps": 2, "given": 1}}
    fits["vista"] |= {"observed_frames": 1, "future_frames": 24}
    config = replace(quick, clips=vista_val(Path(quick.root), tmp_path / "short.json"), metrics=("fd-tiny",))
    results = benchmark(replace(config, methods=quick.methods | fits, most_clips=2))
    assert results is not None and [row.label for row in results.rows] == ["vista"]
    assert results.asked == ["flowframes", "floor", "vista"]
    wanted = "needs 17 observed and 17 future frames, clips of short-val@1 have 1 and 24"
    assert wanted in results.skipped["flowframes"] and wanted in results.skipped["floor"]
    assert "24 frames" in results.skipped["fd-tiny of vista"], "a metric of other numbers of frames ends nothing"
    assert "PSNR" in results.rows[0].figures
    assert read_results(config.out) == results
    page = (Path(config.out) / "report.md").read_text()
    assert "| floor | left out |" in page and f"- floor: repeat_last {wanted}" in page
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(said["left_out"]) == {"flowframes", "floor"} and said["vista"]


def test_no_row_at_all_is_an_error(quick: BenchmarkConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(quick, clips=vista_val(Path(quick.root), tmp_path / "short.json"))
    assert main(words(config, clips=config.clips)) == 2
    assert "every row was left out: flowframes: " in capsys.readouterr().err
    assert not (Path(config.out) / "settings.json").exists(), "another try needs no overwrite"
    with pytest.raises(InputError, match=r"34 future frames \(2 chunks of 17\), clips of .* have 1 and 24"):
        benchmark(replace(config, chunks=2))


def test_horizon_is_more_than_one_chunk() -> None:
    assert BenchmarkConfig(suite="horizon").rollout == 3 and BenchmarkConfig().rollout == 1
    assert BenchmarkConfig(suite="horizon", chunks=2).rollout == 2
    with pytest.raises(InputError, match="that is suite=quality; give 2 or more"):
        BenchmarkConfig(suite="horizon", chunks=1)


def test_true_frames_are_described_once(quick: BenchmarkConfig) -> None:
    context = open_context(replace(quick, metrics=("fd-tiny",)))
    assert context.references is context.references


def test_adding_rows_up_leaves_what_it_was_given_as_it_was(undisturbed: Path, quick: BenchmarkConfig) -> None:
    context = open_context(replace(quick, references=str(undisturbed.parent / "references")))
    before = dict(context.skipped)
    table = ResultsTable(context.references, context.metrics)
    table.row("floor", "repeat_last", BenchmarkFolder(undisturbed))
    assert "cross-view of floor" in table.skipped and table.measures
    assert context.skipped == context.metrics.skipped == before
    with pytest.raises(FrozenInstanceError):  # what is called frozen is so
        context.references.chunks = 2  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"methods": {"flowframe": {}}}, "did you mean flowframes"),
        ({"methods": {"flowframes": {"step": 1}}}, "unknown key 'step'"),
        ({"methods": {"a b": {"method": "flowframes"}}}, "names a folder"),
        ({"clips": "nuscenes-val"}, "there is no such list"),
        ({"resume": True}, "holds no benchmark to resume"),
        ({"root": "nowhere"}, "nowhere"),
    ],
)
def test_what_cannot_be_run_says_why(quick: BenchmarkConfig, change: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        benchmark(replace(quick, **change))
    assert not Path(quick.out).exists()


def test_recordings_of_best_median_and_worst(quick: BenchmarkConfig) -> None:
    methods = {**quick.methods, "larger": {"method": "repeat_last", "size": [128, 192]}}
    results = benchmark(replace(quick, methods=methods, metrics=(), recordings=True))
    assert results is not None
    written = sorted(path.name for path in (Path(quick.out) / "recordings").iterdir())
    assert written == ["best.rrd", "median.rrd", "worst.rrd"]
    assert all(path.stat().st_size > 10_000 for path in (Path(quick.out) / "recordings").iterdir())


def test_rollouts_have_chunks_and_drift(quick: BenchmarkConfig) -> None:
    longer = replace(quick, clips=BenchmarkConfig().clips, most_clips=2)
    results = benchmark(replace(longer, suite="horizon", metrics=(), chunks=2))
    assert results is not None
    row = results.rows[0]
    first, second = row.by_chunk["PSNR"]
    assert len(row.by_frame["PSNR"]) == 34
    assert row.figures["drift of PSNR"].value == pytest.approx(second - first)


def test_numbers_of_evaluations(quick: BenchmarkConfig) -> None:
    """Of the list by its name, with all cameras."""
    named = replace(quick, clips=BenchmarkConfig().clips, most_clips=2)
    results = benchmark(replace(named, suite="nfe", metrics=(), evaluations=(1, 2)))
    assert results is not None and len(results.rows[0].by_camera["PSNR"]) == 6
    assert [row.label for row in results.rows] == ["flowframes-1", "flowframes-2", "floor"]
    assert [row.evaluations["guided_evals"] for row in results.rows] == [1, 2, 0]


def test_comparison_says_what_was_set_otherwise(
    undisturbed: Path, quick: BenchmarkConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = {"flowframes": {**quick.methods["flowframes"], "steps": 2}}
    benchmark(replace(quick, methods=methods, metrics=(), seed=3))
    capsys.readouterr()
    compare(CompareConfig(str(undisturbed), quick.out))
    said = capsys.readouterr().out
    assert said.index("settings.seed") < said.index("B - A")
    assert "methods.flowframes.spec.nfe" in said and "In one only: floor" in said
    compare(CompareConfig(str(undisturbed), str(undisturbed)))
    assert "The settings are the same." in capsys.readouterr().out


ALL_METHODS: Rows = {
    "flowframes_ltxv": {"method": "flowframes", "checkpoint": "random", "family": "ltx", "steps": 2},
    "flowframes_wan": {"method": "flowframes", "checkpoint": "random", "family": "wan", "steps": 2},
    "noise_conditioned": {"checkpoint": "random", "family": "ltx", "steps": 2},
    "ltxv_condition": {"weights": "random", "steps": 3},
    "causvid": {"weights": "random"},
    "self_forcing": {"weights": "random"},
    "causal_forcing": {"weights": "random"},
    "vista": {"weights": "random", "steps": 3, "size": [64, 128]},
    "gem": {"weights": "random", "steps": 25, "size": [64, 128]},
    "repeat_last": {},
    "latent_extrapolation": {"checkpoint": "random"},
    "vae_round_trip": {"checkpoint": "random"},
}


@pytest.fixture(scope="session")
def front_clips(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two of the toy world's clips, of the front camera alone."""
    whole = clip_list(ClipsConfig(list="toyworld-val", root=str(toy_root)))
    clips = tuple(replace(clip, views=clip.views[:1]) for clip in (whole.clips[0], whole.clips[-1]))
    path = tmp_path_factory.mktemp("front") / "front.json"
    write_clip_list(replace(whole, clips=clips), path)
    return path


def test_every_method_from_clips_to_the_table(quick: BenchmarkConfig, front_clips: Path) -> None:
    tiny = {label: {"size": [64, 96], "sizes": "tiny", **options} for label, options in ALL_METHODS.items()}
    tiny["repeat_last"].pop("sizes")
    assert {entry.get("method", label) for label, entry in tiny.items()} == set(METHODS)
    alone = replace(quick, methods=tiny, clips=str(front_clips), metrics=("fd-tiny",))
    run = launch(words(replace(alone, out=f"{quick.out}-two"), clips=front_clips, metrics="[fd-tiny]"), processes=2)
    results = benchmark(alone)
    _, error = run.communicate(timeout=600)
    assert run.returncode == 0, error[-2000:]
    assert results is not None and results.skipped == {} and [row.label for row in results.rows] == list(tiny)
    for row in results.rows:
        assert row.evaluations["guided_evals"] == row.spec["nfe"]
        assert row.figures["PSNR"].value > 0 and row.figures["FD[worldmodel-tiny-vae]"].value > 0
    assert read_results(f"{quick.out}-two").comparable() == results.comparable()


def test_rows_of_one_size_and_other_lengths_have_each_its_own_truth(quick: BenchmarkConfig, front_clips: Path) -> None:
    asked, short = replace(quick, clips=str(front_clips), metrics=("fd-tiny",)), {"method": "repeat_last", "frames": 9}
    rows = {"floor": quick.methods["floor"], "short": short | {"size": [32, 48]}}
    both = benchmark(replace(asked, methods=rows))
    others = {"out": f"{quick.out}-alone", "references": f"{quick.references}-alone"}
    alone = benchmark(replace(asked, methods={"short": rows["short"]}, **others))
    assert both is not None and alone is not None
    assert both.rows[1].figures == alone.rows[0].figures and "FD[worldmodel-tiny-vae]" in alone.rows[0].figures
