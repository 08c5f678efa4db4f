"""Kill training runs at random moments, resume them, and compare with undisturbed ones bit for bit.

python -m worldmodel.benchmarks.studies.exact_resume --kills 20 --keep
"""

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from tests.support.killed_runs import differences, run_killed, run_through
from worldmodel.benchmarks.studies.results import publish
from worldmodel.datasets.toyworld import ToyWorldConfig, make_toyworld
from worldmodel.measure import machine
from worldmodel.measure.report import table_of
from worldmodel.training import AutoencoderConfig, DataConfig, OptimizerConfig, TinyModelConfig, TrainConfig, train


def small_run(folder: Path) -> TrainConfig:
    """A run of some seconds on a drive of one second, with a VAE that was hardly trained."""
    make_toyworld(folder / "toy", ToyWorldConfig(1, 1, seconds=1.0, size=(96, 64), workers=1), False)
    data = DataConfig(
        str(folder / "toy"), "v1.0-toy", size=(64, 96), frames=(5,), stride=1, decode_once=True,
        store=str(folder / "store"), workers=0,
    )  # fmt: skip
    sizes = TinyModelConfig(vae_channels=8, latent_channels=8, layers=1, heads=2, head_dim=16, caption_channels=8)
    first = TrainConfig(
        data, "autoencoder", str(folder / "vae"), model=sizes, autoencoder=AutoencoderConfig(crop=(64, 64)),
        optimizer=OptimizerConfig(lr=2e-3, warmup=2, ema=0.5), steps=4, batch_size=2, inversion_steps=2, log_every=1,
        save_every=1, trackers=(), device="cpu",
    )  # fmt: skip
    train(first)
    return replace(first, objective="flowframes", pretrained=str(folder / "vae/pipeline"), out="", steps=40)


def main() -> None:
    """Kill, compare, print, and with --keep write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--keep", action="store_true", help="write the result to benchmarks/results")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        base = small_run(Path(name))
        for cached in (True, False):
            for processes in (1, 2):
                run = replace(
                    base, data=replace(base.data, latent_cache=cached), accumulate=2, batch_size=4 // processes
                )
                undisturbed, broken = (
                    replace(run, out=f"{name}/{cached}{processes}{kind}") for kind in ("whole", "broken")
                )
                run_through(undisturbed, processes)
                killed = run_killed(broken, arguments.kills, seed=processes, processes=processes)
                differing = differences(Path(undisturbed.out), Path(broken.out))
                rows.append(
                    {
                        "latents": "cached" if cached else "straight from frames",
                        "processes": processes,
                        "kills": killed.kills,
                        "while writing a checkpoint": killed.while_writing,
                        "unreadable checkpoints": killed.unreadable,
                        "differs from undisturbed": ", ".join(differing) or "nothing",
                    }
                )
                shutil.rmtree(broken.out)
    result = {"runs": rows, "machine": machine.describe(("torch", "accelerate", "diffusers"))}
    publish("exact_resume", table_of(rows), result, arguments.keep)


if __name__ == "__main__":
    main()
