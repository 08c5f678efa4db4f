"""Train the tiny model for some minutes on a borrowed GPU, from packed films (`tiny_data.py`).

    python runs/gpu/train_tiny.py --data DATA --out OUT --minutes 5 [--work /tmp/tiny] [--start OUT_OF_BEFORE]

Films -> frame store -> latent cache on the GPU -> `worldmodel train experiment=tiny_base` (noise to video, from a new
network), then `experiment=tiny` (FlowFrames) for the time that is left; its number of steps follows from the rate of
the first run, so that its learning rate ends at 0 in time. Everything is the library's own. `--work` keeps it all, and
the same command goes on there after an interruption. `OUT` gets, as it goes, the averaged transformer in half precision
(12 MB), from which `--start` goes on elsewhere, with a new optimiser and no first run, and the runs' logs.
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from lines import Lines
from safetensors.torch import load_file, save_file
from tiny_data import unpack

from worldmodel.backbones.tiny import tiny_backbone
from worldmodel.checkpoints import shipped
from worldmodel.models.pipeline import FlowFramesPipeline
from worldmodel.termination import end_with_parent
from worldmodel.training.chunks import StorePairs
from worldmodel.training.latent_cache import CARD, build_latent_cache
from worldmodel.training.latents import LatentEncoder

WEIGHTS = "transformer.safetensors"
LAST_S = 20.0  # kept for saving
START_S = 25.0  # of a run's process before its first step, where none was seen; an H100 took 22


class Run:
    """All that one call does.

    Attributes:
        chosen: the command line. until: when its minutes are over, on `time.perf_counter`.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self.chosen, self.until = chosen, time.perf_counter() + 60 * chosen.minutes
        self.work, self.out = chosen.work, chosen.out
        self.lines = Lines(self.out / "train.jsonl", "train_tiny")
        self.device, self.start_s = torch.device(chosen.device), START_S
        self.precision = "bf16" if self.device.type == "cuda" else "no"  # many a CPU takes ten times as long in bf16

    @property
    def left_s(self) -> float:
        """Seconds for training that are left."""
        return self.until - time.perf_counter() - LAST_S

    def all(self) -> None:
        """Data, first run, second run, result."""
        start = self.started()
        self.cached(start)
        base = start
        if self.chosen.start is None:
            self.train("base", "tiny_base", start, self.chosen.base_steps, 0.3 * self.left_s, 0.6 * self.left_s)
            base = self.pipeline("base", start)
        steps = self.chosen.steps or max(1, int(self.rate() * (self.left_s - self.start_s) * 0.95))
        self.train("flowframes", "tiny", base, steps, self.left_s, self.left_s)
        self.keep(self.pipeline("flowframes", base))

    def started(self) -> Path:
        """A pipeline with the shipped VAE and a new transformer of the shipped sizes, or that of `--start`."""
        folder = self.work / "start"
        if not (folder / "model_index.json").is_file():
            part = folder.with_name("start.part")
            shutil.rmtree(part, ignore_errors=True)
            new_pipeline(self.chosen.start).save_pretrained(part)
            part.rename(folder)
        return folder

    def cached(self, start: Path) -> None:
        """The latent cache of the films."""
        began, folder = time.perf_counter(), self.work / "latents"
        if (self.work / "cached").is_file():
            return
        store = unpack(self.chosen.data, self.work / "store", self.chosen.workers or 1)
        unpacked = time.perf_counter()
        pairs = StorePairs(store, self.chosen.frames, self.chosen.stride)
        pipeline = FlowFramesPipeline.from_pretrained(start, dtype=torch.float32).to(self.device)
        encoder = LatentEncoder(pipeline.backbone, 0, self.precision)
        batch = 64 if self.device.type == "cuda" else 4
        if (folder / CARD).is_file():
            shutil.rmtree(folder)
        build_latent_cache(folder, pairs, encoder, batch_size=batch, workers=self.chosen.workers, shard_pairs=512)
        (self.work / "cached").write_text("")
        self.lines.write(
            "data", frames=len(store.frames_SHW3), pairs=len(pairs), unpack_s=round(unpacked - began, 1),
            encode_s=round(time.perf_counter() - unpacked, 1),
        )  # fmt: skip

    def train(self, name: str, preset: str, start: Path, steps: int, seconds: float, most: float) -> None:
        """One run of the trainer in a process of its own, told to stop after `seconds` of training, `most` in all."""
        out = self.work / name
        if (out / "pipeline" / "model_index.json").is_file():
            return
        words = [
            sys.executable, "-m", "worldmodel", "train", f"experiment={preset}", "data.root=null",
            f"data.latents={self.work / 'latents'}", "data.decode_once=false", f"pretrained={start}", f"out={out}",
            f"steps={steps}", f"batch_size={self.chosen.batch}", f"data.workers={self.chosen.workers}", "trackers=[]",
            "log_every=20", "keep=1", f"save_every={self.chosen.save_every}",
            f"compile={str(self.chosen.compile).lower()}",
            f"precision={self.precision}",
            f"device={'auto' if self.device.type == 'cuda' else 'cpu'}",
        ]  # fmt: skip
        if (out / "config.json").is_file():
            words.append("resume=true")
            words[words.index(f"steps={steps}")] = f"steps={json.loads((out / 'config.json').read_text())['steps']}"
        began = time.perf_counter()
        with (self.work / f"{name}.txt").open("a") as log:
            process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, preexec_fn=end_with_parent)
            self.follow(process, name, seconds, began + most)
        self.lines.write("run", name=name, code=process.returncode, wall_s=round(time.perf_counter() - began, 1),
                         **self.last(name))  # fmt: skip

    def follow(self, process: subprocess.Popen, name: str, seconds: float, until: float) -> None:
        """Until the run ends, by itself or because it is told to; each new checkpoint is kept in `OUT`.

        Seconds count from the first step on: how long a process takes to get there differs from machine to machine.
        """
        seen, told, training, log = None, False, False, self.work / name / "log.jsonl"
        began, before = time.perf_counter(), size_of(log)
        while process.poll() is None:
            time.sleep(0.5)
            if not training and size_of(log) != before:
                training, self.start_s = True, time.perf_counter() - began
                until = min(until, time.perf_counter() + seconds)
            newest = checkpoint(self.work / name)
            if newest is not None and newest != seen:
                seen = newest
                with self.lines.guard("checkpoint", name=name):
                    self.keep_weights(averaged(newest))
                    self.lines.write("checkpoint", name=name, **self.last(name))
            if time.perf_counter() > until and not told:
                process.send_signal(signal.SIGTERM)
                told = True
            elif time.perf_counter() > until + LAST_S:
                process.kill()

    def pipeline(self, name: str, start: Path) -> Path:
        """What a run made: its pipeline, or, where it was stopped, `start` with its newest averaged weights."""
        folder, whole = self.work / name / "pipeline", self.work / f"{name}.pipeline"
        if (folder / "model_index.json").is_file():
            return folder
        newest = checkpoint(self.work / name)
        if newest is None:
            raise RuntimeError(f"{name} left no checkpoint; {self.work / f'{name}.txt'} says why")
        pipeline = FlowFramesPipeline.from_pretrained(start, dtype=torch.float32)
        pipeline.transformer.load_state_dict(averaged(newest))
        shutil.rmtree(whole, ignore_errors=True)
        pipeline.save_pretrained(whole)
        return whole

    def rate(self) -> float:
        """Steps a second of the first run, compiling left out; of `--start`, a cautious guess."""
        rows = log_of(self.work / "base")
        if len(rows) < 4:
            return 15.0 if self.device.type == "cuda" else 1.0
        middle, last = rows[len(rows) // 2], rows[-1]
        return (last["step"] - middle["step"]) / max(last["seconds"] - middle["seconds"], 1e-3)

    def last(self, name: str) -> dict[str, Any]:
        """Of the newest line of a run's log: step, loss, and steps a second."""
        rows = log_of(self.work / name)
        if not rows:
            return {}
        found = {key: rows[-1][key] for key in ("step", "loss", "unexplained", "seconds") if key in rows[-1]}
        return found | {"steps_per_s": round(rows[-1]["step"] / max(rows[-1]["seconds"], 1e-3), 2)}

    def keep(self, pipeline: Path) -> None:
        """The result, in half precision, and how it was made."""
        self.keep_weights(load_file(pipeline / "transformer" / "diffusion_pytorch_model.safetensors"))
        shutil.copy(pipeline / "transformer" / "config.json", self.out / "transformer.json")
        for name in ("base", "flowframes"):
            if (self.work / name / "log.jsonl").is_file():
                shutil.copy(self.work / name / "log.jsonl", self.out / f"{name}.jsonl")
        if (pipeline / "training.json").is_file():
            shutil.copy(pipeline / "training.json", self.out / "training.json")
        self.lines.write("kept", weights=WEIGHTS, bytes=(self.out / WEIGHTS).stat().st_size)

    def keep_weights(self, weights: dict[str, torch.Tensor]) -> None:
        """Whole or not at all."""
        part = self.out / f"{WEIGHTS}.part"
        save_file({name: one.half().contiguous() for name, one in weights.items()}, part)
        part.rename(self.out / WEIGHTS)


def new_pipeline(start: Path | None) -> FlowFramesPipeline:
    """The shipped VAE and scheduler around a transformer of the shipped sizes."""
    from diffusers import AutoencoderKLLTXVideo, LTXVideoTransformer3DModel

    folder = shipped("tiny")
    vae = AutoencoderKLLTXVideo.from_pretrained(folder / "vae", torch_dtype=torch.float32)
    torch.manual_seed(0)
    config = LTXVideoTransformer3DModel.load_config(folder / "transformer")
    transformer: Any = LTXVideoTransformer3DModel.from_config(config)
    if start is not None:
        transformer.load_state_dict({name: one.float() for name, one in load_file(start / WEIGHTS).items()})
    return FlowFramesPipeline.from_backbone(tiny_backbone(vae, transformer))


def checkpoint(run: Path) -> Path | None:
    """The newest whole one."""
    found = sorted(run.glob("checkpoints/step-*/state.json"))
    return found[-1].parent if found else None


def averaged(folder: Path) -> dict[str, torch.Tensor]:
    """The transformer's averaged weights of a checkpoint."""
    file = folder / "average.safetensors"
    weights = load_file(file if file.is_file() else folder / "weights.safetensors")
    return {name.removeprefix("transformer."): one for name, one in weights.items()}


def size_of(file: Path) -> int:
    """Bytes; -1 where there is none. The log of a run is there, still empty, when its first step begins."""
    return file.stat().st_size if file.is_file() else -1


def log_of(run: Path) -> list[dict[str, Any]]:
    """The whole lines of a run's log."""
    file = run / "log.jsonl"
    lines = file.read_text().splitlines() if file.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of tiny_data.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/worldmodel-tiny"))
    parser.add_argument("--start", type=Path, help="OUT of an earlier call, to go on from")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--frames", type=int, default=17, help="of a chunk")
    parser.add_argument("--stride", type=int, default=3, help="frames between the starts of two pairs")
    parser.add_argument("--base-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=0, help="of FlowFrames; 0 is what fits")
    parser.add_argument("--save-every", type=int, default=500)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--compile", action="store_true")
    chosen = parser.parse_args()
    for folder in (chosen.out, chosen.work):
        folder.mkdir(parents=True, exist_ok=True)
    run = Run(chosen)
    with run.lines.guard("train_tiny"):
        run.all()


if __name__ == "__main__":
    main()
