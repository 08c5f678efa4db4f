"""Presets hold the paper's numbers, topologies load in accelerate, and every command of `runs/` and the docs composes.

The scripts are run by a real bash, with stand-ins for the programs that they call, which note what they were asked.
"""

import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

from worldmodel.benchmarks.methods.registry import check_method
from worldmodel.benchmarks.metrics.catalogue import EXTRACTORS
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.cli.compose import compose
from worldmodel.cli.help import presets
from worldmodel.cli.main import split_verb, take_flags
from worldmodel.cli.verbs import VERBS
from worldmodel.training import OptimizerConfig, TrainConfig

ROOT = Path(__file__).resolve().parents[3]
TOPOLOGIES = sorted((ROOT / "worldmodel/cli/presets/topology").glob("*.yaml"))
SCRIPTS = sorted(path for path in (ROOT / "runs").iterdir() if path.suffix in (".sh", ".sbatch"))
PAPER = {"flowframes_ltxv": 28, "flowframes_wan": 56}  # GPUs
PUBLISHED = {"flowc2s_ltxv": 28, "flowc2s_wan": 56}
GIVEN = ("data.videos=OpenVid-1M.csv", "pretrained=FOLDER")  # what the paper's presets leave to the user

Call = tuple[str, list[str]]


def preset(name: str, *words: str) -> TrainConfig:
    given = GIVEN if name in PAPER | PUBLISHED else ()
    return compose(TrainConfig, [f"experiment={name}", *given, *words], presets=True)


@pytest.mark.parametrize("name", presets("experiment"))
def test_every_preset_is_a_run(name: str) -> None:
    assert preset(name).steps > 0


def test_the_presets_of_the_issue_are_there() -> None:
    assert {*PAPER, *PUBLISHED, "toy", "debug", "tiny", "tiny_base", "tiny_autoencoder"} <= set(presets("experiment"))


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_presets_are_table_3(name: str) -> None:
    run, ltx = preset(name), name == "flowframes_ltxv"
    table = {
        "batch_size": 64 if ltx else 32,
        "accumulate": 8,
        "steps": 1450,
        "rho": 0.7,
        "sigma": "logit_normal" if ltx else "uniform",
        "precision": "bf16",
        "objective": "flowframes",
        "sigma_shift": None,  # LTX's, by token count
    }
    assert {key: getattr(run, key) for key in table} == table
    assert (run.optimizer.lr, run.optimizer.betas) == (2e-4, (0.9, 0.99))
    assert run.optimizer.schedule == ("linear" if ltx else "cosine")
    assert (run.data.size, run.data.frames) == ((256, 384) if ltx else (240, 416), (17, 41))
    assert run.batch_size * run.accumulate * PAPER[name] == 14_336
    assert (run.optimizer.warmup, run.optimizer.ema, run.lora.rank) == (0, 0.0, 0)  # not in the table
    assert run.data.latent_cache and run.data.skip_bad and run.compile


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_presets_are_the_published_code(name: str) -> None:
    run, ltx = preset(name), name == "flowc2s_ltxv"
    known = {
        "conventions": "published",
        "batch_size": 64 if ltx else 32,
        "accumulate": 8,
        "steps": 1450,
        "rho": 0.7,
        "sigma": "logit_normal",
        "sigma_shift": None if ltx else 0.0,
        "precision": "bf16",
        "checkpoint_gradients": True,
        "seed": 779878798,
        "save_every": 38,
    }
    assert {key: getattr(run, key) for key in known} == known
    optimizer = run.optimizer
    assert (optimizer.lr, optimizer.betas, optimizer.weight_decay) == (2e-4, (0.9, 0.99), 1e-4)
    assert (optimizer.warmup, optimizer.clip, optimizer.ema) == (30, 1.0, 0.0)
    assert optimizer.schedule == ("linear" if ltx else "cosine")
    assert (run.data.size, run.lora.rank) == ((256, 384) if ltx else (240, 416), 0)
    assert run.batch_size * run.accumulate * PUBLISHED[name] == 14_336
    assert replace(run, optimizer=OptimizerConfig(betas=(0.9, 0.99), schedule=optimizer.schedule)).settled == run


def test_a_paper_preset_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    from worldmodel.cli.main import main

    assert main(["train", "experiment=flowframes_ltxv"]) == 2
    assert "data.root, data.videos, data.latents: give exactly one of them" in capsys.readouterr().err


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.stem)
def test_topologies_load_in_accelerate(path: Path) -> None:
    loaded = load_config_from_file(str(path))
    sharded = path.stem == "fsdp"
    assert loaded.distributed_type == {"one_gpu": "NO", "fsdp": "FSDP"}.get(path.stem, "MULTI_GPU")
    assert loaded.num_processes == {"one_gpu": 1, "multi_node_ddp": 16}.get(path.stem, 8)
    assert loaded.num_machines == (2 if path.stem == "multi_node_ddp" else 1)
    assert not loaded.use_cpu and bool(loaded.fsdp_config) == sharded
    if sharded:
        wrapped = loaded.fsdp_config["fsdp_transformer_layer_cls_to_wrap"]
        assert (loaded.fsdp_config["fsdp_version"], wrapped) == (2, "LTXVideoTransformerBlock")


def test_the_sharded_blocks_are_those_of_diffusers() -> None:
    from diffusers.models.transformers import transformer_ltx, transformer_wan

    assert hasattr(transformer_ltx, "LTXVideoTransformerBlock") and hasattr(transformer_wan, "WanTransformerBlock")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(path: Path) -> None:
    done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "set -euo pipefail" in path.read_text() or path.name == "paper_steps.sh"
    assert os.access(path, os.X_OK) == path.read_text().startswith("#!") or path.suffix == ".sbatch"


# Stand-ins. Each notes its name and words; `python -c` is the real one; `srun` runs its command here, as Slurm does on
# the nodes; `accelerate` leaves the file RESULT where that is set, and with WAITS waits to be told to stop.
NOTE = r"""#!/usr/bin/env bash
line=$(printf '%s\037' "${0##*/}" "$@"); printf '%s\036' "$line" >>"$CALLS"
"""
STAND_INS = {
    "worldmodel": "",
    "sleep": "",
    "python": '[ "$1" != -c ] || exec "$REAL_PYTHON" "$@"\n',
    "scontrol": '[ "$1" != show ] || echo node0\n',
    "srun": 'while [[ $1 == --* ]]; do shift; done\nSLURM_NODEID=0 exec "$@"\n',
    "accelerate": """
        [ -z "${WAITS:-}" ] || { trap 'touch "$WAITS.told"; exit 1' USR1; touch "$WAITS"
            for _ in {1..600}; do /bin/sleep 0.1; done; }
        [ -z "${RESULT:-}" ] || { mkdir -p "$(dirname "$RESULT")"; touch "$RESULT"; }
    """,
}


class Shell:
    """Runs the scripts in `runs/` with stand-ins, in a folder with a little of everything that they look for."""

    def __init__(self, folder: Path) -> None:
        self.data, self.out, self.calls_file = folder / "data", folder / "out", folder / "calls"
        (folder / "bin").mkdir()
        for name, body in STAND_INS.items():
            (folder / "bin" / name).write_text(NOTE + body)
            (folder / "bin" / name).chmod(0o755)
        (self.data / "openvid/data/train").mkdir(parents=True)
        (self.data / "openvid/data/train/OpenVid-1M.csv").touch()
        (self.data / "nuscenes").mkdir()
        for name in ("lists/val.csv", "store/videos/a.mp4"):
            (self.out / name).parent.mkdir(parents=True)
            (self.out / name).write_text("video,caption\na.mp4,one\nb.mp4,two\n")
        self.environment = {
            **os.environ,
            "PATH": f"{folder}/bin:{os.environ['PATH']}",
            "CALLS": str(self.calls_file),
            "REAL_PYTHON": sys.executable,
            "DATA": str(self.data),
            "OUT": str(self.out),
            "SLURM_JOB_NODELIST": "node[0-6]",
            "SLURM_JOB_ID": "4711",
            "SLURM_NNODES": "7",
            "SLURM_GPUS_ON_NODE": "4",
        }

    def start(self, name: str, *words: str, **more: str) -> subprocess.Popen:
        command = ["bash", str(ROOT / "runs" / name), *words]
        return subprocess.Popen(command, env=self.environment | more, text=True, stdout=-1, stderr=-2)

    def run(self, name: str, *words: str, **more: str) -> tuple[int, list[Call]]:
        process = self.start(name, *words, **more)
        process.communicate(timeout=100)
        return process.returncode, self.calls()

    def calls(self) -> list[Call]:
        """What was asked since the last time."""
        text = self.calls_file.read_text() if self.calls_file.exists() else ""
        self.calls_file.unlink(missing_ok=True)
        return [(name, words) for name, *words in (line.split("\037")[:-1] for line in text.split("\036") if line)]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def composed(call: Call) -> Any:
    """The configuration that a command asks for; fails where it asks for something that is not there."""
    name, words = call
    if name == "accelerate":
        launch = launch_command_parser().parse_args(words[1:])
        assert words[0] == "launch" and launch.module and launch.training_script == "worldmodel"
        assert load_config_from_file(str(ROOT / launch.config_file))
        words = launch.training_script_args
    elif name == "python" and words[0] == "runs/find_pairs.py":
        words = ["train", *words[1:]]
    elif name != "worldmodel":
        return None
    verb, rest = split_verb(words)
    flags, rest, _ = take_flags(rest)
    if flags:
        return None
    return compose(VERBS[verb].load(VERBS[verb].config), rest, presets=VERBS[verb].presets)


def launched(calls: list[Call]) -> Any:
    return launch_command_parser().parse_args(next(words for name, words in calls if name == "accelerate")[1:])


@pytest.mark.parametrize("name, gpus", [("paper_ltxv.sh", 4), ("paper_wan.sh", 8)])
def test_the_paper_from_raw_data_to_predictions(shell: Shell, name: str, gpus: int) -> None:
    status, calls = shell.run(name, "save_every=20")
    assert status == 0
    asked = [Path(words[0]).name if call == "python" else words[0] for call, words in calls if call != "accelerate"]
    assert asked[:3] == ["draw_lists.py", "keep_prompt.py", "find_pairs.py"]
    assert all((ROOT / words[0]).is_file() for call, words in calls if call == "python" and words[0][0] != "-")
    settings = {str(call): composed(call) for call in calls}
    runs = [one for one in settings.values() if isinstance(one, TrainConfig)]
    assert len(runs) == 1 + gpus + 1  # pairs, a latent job for each GPU, training
    assert sorted(one.task for one in runs[1:-1]) == [*range(gpus)]
    launch, train = launched(calls), runs[-1]
    assert (launch.num_machines, launch.num_processes, launch.machine_rank) == (7, 7 * gpus, 0)
    assert train.batch_size * train.accumulate * launch.num_processes == 14_336
    assert train.accumulate == 8 and train.save_every == 20 and not train.resume
    assert asdict(preset(f"flowframes_{name[6:-3]}"))["optimizer"] == asdict(train)["optimizer"]
    predictions = [one for one in settings.values() if type(one).__name__ == "PredictConfig"]
    assert len(predictions) == 4 * 2 + 1 and {one.steps for one in predictions} == {5, 10}
    check_evaluation([one for one in settings.values() if isinstance(one, BenchmarkConfig)], calls, shell)
    assert "not built yet" not in (ROOT / "runs" / "paper_steps.sh").read_text()


def check_evaluation(asked: list[BenchmarkConfig], calls: list[Call], shell: Shell) -> None:
    """FID and FVD on both datasets at 5 and 10 evaluations, with the extractors fetched before."""
    fetched = [words[-1] for call, words in calls if call == "python" and words[:1] == ["-m"]]
    assert set(fetched) == {"inception", "i3d-styleganv", "i3d-videogpt"}
    assert [one.clips for one in asked] == ["flowframes-val", str(shell.out / "lists/openvid-val.json")]
    for one in asked:
        assert {"fid", "fvd-videogpt", "fvd-styleganv"} <= set(one.metrics) <= set(EXTRACTORS)
        assert one.suite == "quality" and one.most_clips is None and not one.resume
        rows = one.methods.values()
        assert [(row["method"], row["steps"], row["checkpoint"]) for row in rows] == [
            ("flowframes", steps, str(shell.out / "run/pipeline")) for steps in (5, 10)
        ]
        for row in rows:
            check_method(row["method"], {key: value for key, value in row.items() if key != "method"})
    (made,) = (words[1:] for call, words in calls if call == "python" and words[0] == "runs/held_out_clips.py")
    assert made[-1] == asked[1].clips and made[2] == asked[1].root


def test_what_is_there_is_passed_over(shell: Shell) -> None:
    for name in ("lists/train.csv", "lists/openvid-val.header.json", "base/model_index.json", "run/config.json"):
        (shell.out / name).parent.mkdir(exist_ok=True)
        (shell.out / name).touch()
    (shell.out / "prepared").touch()
    _, calls = shell.run("paper_ltxv.sh")
    assert not any(words[0].startswith("runs/") for call, words in calls if call == "python")
    assert composed(next(call for call in calls if call[0] == "accelerate")).resume
    (shell.out / "run/pipeline").mkdir()
    (shell.out / "run/pipeline/model_index.json").touch()
    _, calls = shell.run("paper_ltxv.sh")
    assert {words[0] for call, words in calls if call == "worldmodel"} == {"data", "predict"}
    assert {type(composed(call)) for call in calls if call[0] == "accelerate"} == {BenchmarkConfig}
    for name in ("nuscenes/settings.json", "openvid/results.json"):
        (shell.out / "benchmark" / name).parent.mkdir(parents=True)
        (shell.out / "benchmark" / name).touch()
    _, calls = shell.run("paper_ltxv.sh")
    (evaluation,) = (composed(call) for call in calls if call[0] == "accelerate")
    assert evaluation.clips == "flowframes-val" and evaluation.resume


def test_other_machines_do_their_share_only(shell: Shell) -> None:
    (shell.out / "prepared").touch()
    status, calls = shell.run("paper_ltxv.sh", RANK="6", MAIN="10.0.0.1")
    assert status == 0
    assert {words[0] for call, words in calls if call == "worldmodel"} == {"cache"}
    assert sorted(composed(call).task for call in calls if call[0] == "worldmodel") == [24, 25, 26, 27]
    assert (launched(calls).machine_rank, launched(calls).main_process_ip) == (6, "10.0.0.1")


def test_gpus_that_do_not_fit_are_named(shell: Shell) -> None:
    process = shell.start("paper_ltxv.sh", NODES="3", GPUS="8")
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "does not divide 14336: choose another PER_GPU" in said


def test_the_toy_goes_through_every_step(shell: Shell) -> None:
    status, calls = shell.run("toy.sh", "batch_size=4", STEPS="7", EVERY="3")
    assert status == 0
    asked = [composed(call) for call in calls]
    kinds = [type(one).__name__ for one in asked]
    assert kinds == ["ToyWorldVerb", "IndexVerb", "CacheBuildConfig", "TrainConfig", "PredictConfig", "NoneType"]
    assert (asked[3].steps, asked[3].batch_size, asked[3].pretrained) == (7, 4, "tiny_base")
    assert calls[-1][1] == [
        "-m", "worldmodel.benchmarks.studies.tiny_model", "--root", str(shell.out / "drive"),
        "--checkpoint", str(shell.out / "run/pipeline"), "--every", "3",
    ]  # fmt: skip
    assert len((shell.out / "timings.txt").read_text().splitlines()) == 6


SLURM_WORDS = ("experiment=flowframes_ltxv", *GIVEN)


def test_slurm_launches_a_task_a_node(shell: Shell) -> None:
    out = shell.out / "run"
    status, calls = shell.run("slurm.sbatch", *SLURM_WORDS, f"out={out}", RESULT=str(out / "pipeline/model_index.json"))
    assert status == 0
    launch, train = launched(calls), composed(next(call for call in calls if call[0] == "accelerate"))
    assert (launch.num_machines, launch.num_processes, launch.main_process_ip) == (7, 28, "node0")
    assert train.out == str(out) and not train.resume
    assert not [call for call in calls if call == ("scontrol", ["requeue", "4711"])]


def test_slurm_goes_on_with_a_run_that_is_there_and_does_not_put_back_what_failed(shell: Shell) -> None:
    (shell.out / "run").mkdir()
    (shell.out / "run/config.json").touch()
    status, calls = shell.run("slurm.sbatch", *SLURM_WORDS, f"out={shell.out / 'run'}")
    assert status == 1
    assert composed(next(call for call in calls if call[0] == "accelerate")).resume
    assert ("scontrol", ["requeue", "4711"]) not in calls


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_slurm_passes_the_warning_on_and_puts_the_job_back(shell: Shell, number: signal.Signals) -> None:
    waits = shell.out / "waits"
    job = shell.start("slurm.sbatch", *SLURM_WORDS, f"out={shell.out / 'run'}", WAITS=str(waits))
    deadline = time.monotonic() + 60
    while not waits.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    job.send_signal(number)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 0, said
    assert Path(f"{waits}.told").exists()
    assert ("scontrol", ["requeue", "4711"]) in shell.calls()


def commands_of(text: str) -> list[Call]:
    """The `worldmodel` and `accelerate launch` commands in indented or fenced code, and in comments of topologies."""
    text = re.sub(r"\\\n\s*#?\s*", " ", text)
    lines = (line.strip().removeprefix("#").strip() for line in text.splitlines() if line.startswith(("    ", "#")))
    found = [re.sub(r"\s{3,}.*", "", line) for line in lines if line.startswith(("worldmodel ", "accelerate launch "))]
    return [(name, words) for name, *words in map(shlex.split, found)]


DOCUMENTS = [ROOT / "docs/training.md", *TOPOLOGIES]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_commands_of_documents_compose(path: Path) -> None:
    calls = commands_of(path.read_text().replace("experiment=...", "experiment=debug"))
    assert calls, "no command found"
    for call in calls:
        if any(re.match("experiment=flow(frames|c2s)_", word) for word in call[1]):
            call = (call[0], [*call[1], *GIVEN])
        composed(call)


def script(name: str) -> ModuleType:
    """A Python file of `runs/`, loaded without running it."""
    spec = importlib.util.spec_from_file_location(f"runs_{name}", ROOT / "runs" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lists_are_drawn_once_and_for_all(tmp_path: Path) -> None:
    from worldmodel.datasets.openvid import read_list
    from worldmodel.errors import InputError

    source = tmp_path / "all.csv"
    source.write_text("video,caption,fps\n" + "".join(f'{n}.mp4,"a, ""b""\nc {n}",24\n' for n in range(20)))
    draw_lists = script("draw_lists").draw_lists
    for folder in ("one", "two"):
        draw_lists(source, tmp_path / folder, 12, 5)
    assert (tmp_path / "one/train.csv").read_bytes() == (tmp_path / "two/train.csv").read_bytes()
    train, val = ([*read_list(tmp_path / f"one/{name}.csv")] for name in ("train", "val"))
    assert (len(train), len(val), len({entry.video for entry in train + val})) == (12, 5, 17)
    assert train[0].caption == f'a, "b"\nc {train[0].video[:-4]}'
    with pytest.raises(InputError, match="20 videos; 5 [+] 16 are asked for"):
        draw_lists(source, tmp_path / "three", 16, 5)


def test_held_out_videos_become_a_clip_list(tmp_path: Path) -> None:
    """The drawn list keeps the lengths, the videos come out of the zips, and what is nowhere is left out."""
    import zipfile

    from worldmodel.benchmarks.clips import read_clip_list
    from worldmodel.datasets.openvid import VideoFiles

    source = tmp_path / "all.csv"
    source.write_text("video,caption,frame,fps\n" + "".join(f"{n}.mp4,c {n},{30 + n},24\n" for n in range(8)))
    script("draw_lists").draw_lists(source, tmp_path / "lists", 0, 8)
    (tmp_path / "zips").mkdir()
    with zipfile.ZipFile(tmp_path / "zips" / "part.zip", "w") as archive:
        for number in range(1, 8):
            archive.writestr(f"videos/{number}.mp4", b"film")
    videos, out = tmp_path / "videos", tmp_path / "lists" / "openvid-val.json"
    script("held_out_clips").held_out_clips(tmp_path / "lists" / "val.csv", tmp_path / "zips", videos, out)
    chosen = read_clip_list(out)
    assert [clip.lead.frames[0] for clip in chosen.clips] == [f"{n}.mp4#0" for n in (4, 5, 6, 7)]
    assert all(VideoFiles([videos]).find(file) is not None for file in chosen.files)


def test_the_prompt_is_kept_and_the_text_encoder_left_out(tmp_path: Path) -> None:
    import torch
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    from worldmodel.backbones.tiny import tiny_backbone, tiny_transformer, tiny_vae
    from worldmodel.models.pipeline import FlowFramesPipeline

    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>")),
        pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
    )  # fmt: skip
    sizes = {"vocab_size": 3, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    encoder = T5EncoderModel(T5Config(**sizes)).eval()
    backbone = tiny_backbone(tiny_vae(8, 8), tiny_transformer(8, 1, 2, 16, 16))
    whole = FlowFramesPipeline.from_backbone(backbone, text_encoder=encoder, tokenizer=words)
    whole.save_pretrained(tmp_path / "source")
    script("keep_prompt").keep_prompt(str(tmp_path / "source"), tmp_path / "base")
    kept = FlowFramesPipeline.from_pretrained(tmp_path / "base")
    assert kept.text_encoder is None and not (tmp_path / "base/text_encoder").exists()
    difference = kept.prompt_cache.embeds.float() - whole.prompt_cache.embeds
    assert float(difference.abs().max()) < 0.05  # embedded in bfloat16
    assert kept.prompt_cache.embeds.shape == whole.prompt_cache.embeds.shape == torch.Size([1, 128, 16])
    assert "backbone_name" in json.loads((tmp_path / "base/model_index.json").read_text())
