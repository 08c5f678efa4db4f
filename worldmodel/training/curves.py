"""The logs of some runs as one picture.

python -m worldmodel.training.curves out.png outputs/tiny/autoencoder/log.jsonl outputs/tiny/base/log.jsonl ...
"""

import json
import sys
from pathlib import Path

import numpy as np

from worldmodel.files import written_whole

WINDOW = 20  # entries of the running mean


def plot_logs(logs: list[Path], out: Path) -> Path:
    """Loss of each log over its steps, and its running mean; written under a temporary name and renamed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(logs), 3.2), layout="constrained")
    for axes, log in zip(figure.subplots(1, len(logs), squeeze=False)[0], logs, strict=True):
        complete = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]  # not half one
        entries = [entry for entry in complete if "loss" in entry]  # a validation has none
        step, loss = (np.array([entry[key] for entry in entries]) for key in ("step", "loss"))
        axes.plot(step, loss, color="0.8", linewidth=0.8)
        width = min(WINDOW, len(loss))
        axes.plot(step[width - 1 :], np.convolve(loss, np.full(width, 1 / width), "valid"), color="tab:blue")
        axes.set(title=log.parent.name if log.stem == "log" else log.stem, xlabel="step", ylabel="loss", yscale="log")
        axes.grid(alpha=0.3, which="both")
    with written_whole(out, ".png") as part:
        figure.savefig(part, format="png", dpi=110)
    return out


if __name__ == "__main__":
    print(plot_logs([Path(name) for name in sys.argv[2:]], Path(sys.argv[1])))
