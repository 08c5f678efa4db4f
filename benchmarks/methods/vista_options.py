"""Vista's options, and the canvas that they ask for.

What `given` means:
- as many as are observed (17): the paper's text; observed and future frames on one canvas.
- 1: upstream's default; the same canvas, of which only the first frame is given.
- 3: what the network was trained for; the last three observed frames on a canvas of 25.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from worldmodel.benchmarks.methods.vista_networks import SvdOptions, check_size
from worldmodel.errors import InputError
from worldmodel.settings import Count, NotNegative, Text, within

FILE = "vista.safetensors"
TRAINED_GIVEN, TRAINED_FRAMES = 3, 25


@dataclass(frozen=True)
class VistaOptions(SvdOptions):
    """How Vista is run; the defaults are the paper's row. See `SvdOptions` for weights, sizes, size, dtype and device.

    Attributes:
        given: how many frames the network is given: all observed ones, 1 or 3 (the module says what that means).
        canvas: frames that the network works on; null is 25 for `given=3`, else observed and future ones.
        rounds: later rounds are given the last three frames of the one before, and add canvas - 3 frames.
        steps: of a round. guidance: its scale; with several rounds the largest, in the middle of the canvas (1 at its
            ends).
    """

    weights: Text = FILE
    given: Count = 17
    canvas: Count | None = None
    rounds: Count = 1
    steps: Annotated[int, within(2)] = 50
    guidance: NotNegative = 2.5


@dataclass(frozen=True)
class Canvas:
    """The frames of the first round.

    Attributes:
        mode: all (observed frames are given), first (of them), or as trained (the last three).
        frames: in all. known: how many of them, from the first on, are observed ones.
    """

    mode: Literal["all", "first", "trained"]
    frames: int
    known: int

    def __str__(self) -> str:
        return {"all": "all observed", "first": "the first observed", "trained": "the last observed"}[self.mode]


def canvas(options: VistaOptions) -> Canvas:
    """The canvas of `options`; raises `InputError` where they do not fit together."""
    check_size(options.size)
    observed, given, rounds = options.observed_frames, options.given, options.rounds
    if given not in (observed, 1, TRAINED_GIVEN) or given > observed:
        raise InputError(f"given={given}: use {observed} (all observed frames), 1 or {TRAINED_GIVEN}")
    mode: Literal["all", "first", "trained"] = "all" if given == observed else "first"
    mode = "trained" if given == TRAINED_GIVEN else mode
    known = given if mode == "trained" else observed
    frames = options.canvas or (TRAINED_FRAMES if mode == "trained" else observed + options.future_frames)
    new = frames - known + (rounds - 1) * (frames - TRAINED_GIVEN)
    if rounds < 1 or frames <= max(known, TRAINED_GIVEN if rounds > 1 else 0) or new < options.future_frames:
        raise InputError(
            f"rounds={rounds} on a canvas of {frames} frames give {max(0, new)} new ones, "
            f"future_frames={options.future_frames} are wanted; use more rounds, a larger canvas or fewer frames"
        )
    return Canvas(mode, frames, known)
