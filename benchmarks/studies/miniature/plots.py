"""Table and plots of the miniature: loss, quality over steps (Fig. 4), over evaluations (6a), over the horizon (6b)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worldmodel.files import written_whole
from worldmodel.measure.report import Record, table_of

COLOURS = ("tab:gray", "tab:red", "tab:orange", "tab:blue", "tab:green")
Result = Record


def text(result: Result) -> str:
    """Means and spread (standard deviation over seeds) as a Markdown table."""
    floor = _any_run(result)["floor"]
    rows = [_row(name, list(runs.values())) for name, runs in result["variants"].items()]
    budget = result["budget"]
    head = (
        f"{budget['steps']} steps of batch {budget['batch_size']}, {result['clips']} held-out clips, "
        f"mean ± standard deviation over seeds. Repeating the last frame: {floor['psnr_db']:.2f} dB, "
        f"latent Fréchet {floor['latent_frechet']:.1f}."
    )
    return f"{head}\n\n{table_of(rows)}"


def _row(name: str, runs: list[Result]) -> Record:
    def spread(pick: Callable[[Result], float], digits: int = 2) -> str:
        values = np.array([pick(run) for run in runs])
        return f"{values.mean():.{digits}f} ± {values.std(ddof=1) if len(values) > 1 else 0:.{digits}f}"

    return {
        "variant": name,
        "seeds": len(runs),
        "PSNR 1 NFE ↑": spread(lambda run: run["by_evaluations"]["1"]["psnr_db"]),
        "PSNR 5 NFE ↑": spread(lambda run: run["by_evaluations"]["5"]["psnr_db"]),
        "PSNR 40 NFE ↑": spread(lambda run: run["by_evaluations"]["40"]["psnr_db"]),
        "latent Fréchet 5 NFE ↓": spread(lambda run: run["by_evaluations"]["5"]["latent_frechet"], 1),
        "latent Fréchet 40 NFE ↓": spread(lambda run: run["by_evaluations"]["40"]["latent_frechet"], 1),
        "sharpness 5 NFE": spread(lambda run: run["by_evaluations"]["5"]["sharpness"]),
        "straightness ↓": spread(lambda run: run["by_evaluations"]["40"]["straightness"], 3),
    }


def draw(result: Result, folder: Path) -> None:
    """Write `miniature.png`: six panels."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 7.6), layout="constrained")
    panels = figure.subplots(2, 3).ravel()
    floor = _any_run(result)["floor"]
    _panel(panels[0], result, _loss, "step", "unexplained share of the velocity", "Training (running mean)")
    _panel(panels[1], result, _by_step("latent_frechet"), "step", "latent Fréchet ↓", "Quality over steps, 5 NFE")
    _panel(panels[2], result, _by_step("psnr_db"), "step", "PSNR (dB) ↑", "PSNR over steps, 5 NFE")
    _panel(panels[3], result, _by_evaluations("latent_frechet"), "NFE", "latent Fréchet ↓", "Quality over NFE")
    _panel(panels[4], result, _by_evaluations("psnr_db"), "NFE", "PSNR (dB) ↑", "PSNR over NFE")
    _panel(panels[5], result, _by_frame, "predicted frame", "PSNR (dB) ↑", "PSNR over the horizon, 5 NFE")
    frames = range(1, 1 + len(floor["psnr_db_by_frame"]))
    repeated = panels[5].plot(frames, floor["psnr_db_by_frame"], "k:", label="repeating the last frame")
    panels[5].legend(handles=repeated)
    for axes in panels[3:5]:
        axes.set_xscale("log")
        axes.set_xticks([1, 2, 5, 10, 40], ["1", "2", "5", "10", "40"])
    for axes in (panels[2], panels[4]):
        axes.axhline(floor["psnr_db"], color="k", linestyle=":", linewidth=1)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    with written_whole(folder / "miniature.png", ".png") as part:
        figure.savefig(part, format="png", dpi=110)


def _panel(axes: Any, result: Result, curve: Callable[[Result], tuple[Any, Any]], x: str, y: str, title: str) -> None:
    """Mean over seeds as a line, the range of the seeds as a band."""
    for (name, runs), colour in zip(result["variants"].items(), COLOURS, strict=False):
        curves = [curve(run) for run in runs.values()]
        values = np.array([heights for _, heights in curves])
        axes.plot(curves[0][0], values.mean(axis=0), color=colour, label=name, linewidth=1.6)
        axes.fill_between(curves[0][0], values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel=x, ylabel=y, title=title)
    axes.grid(alpha=0.3)


def _loss(run: Result) -> tuple[Any, Any]:
    steps, _, unexplained = np.array(run["loss"]).T
    width = min(5, len(steps))
    return steps[width - 1 :], np.convolve(unexplained, np.full(width, 1 / width), "valid")


def _by_step(figure: str) -> Callable[[Result], tuple[Any, Any]]:
    return lambda run: ([int(step) for step in run["by_step"]], [scores[figure] for scores in run["by_step"].values()])


def _by_evaluations(figure: str) -> Callable[[Result], tuple[Any, Any]]:
    return lambda run: (
        [int(number) for number in run["by_evaluations"]],
        [scores[figure] for scores in run["by_evaluations"].values()],
    )


def _by_frame(run: Result) -> tuple[Any, Any]:
    return range(1, 1 + len(run["psnr_db_by_frame"])), run["psnr_db_by_frame"]


def _any_run(result: Result) -> Result:
    run: Result = next(iter(next(iter(result["variants"].values())).values()))
    return run
