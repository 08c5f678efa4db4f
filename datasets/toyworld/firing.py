"""When the cameras take their pictures, as on the real nuScenes vehicle, and which pictures become key frames.

In three of every five turns of the lidar all cameras are triggered, and each fires when the turn passes its optical
axis: steps of 50, 100 and 100 ms, 83.3 ms in the mean (`worldmodel.datasets.timing`). Now and then a frame is
missing, of all cameras or of one. About every half second a turn in which every camera fired becomes a sample, its
pictures key frames; most samples lie ten turns apart, some fewer or more, so that key frames of a camera lie 3 to 8
frames apart.

Shape legend: T turns, N cameras of the rig, S samples.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from worldmodel.datasets.timing import LIDAR_TURN_S, STEP_TURNS
from worldmodel.datasets.toyworld.rig import RIG

TURNS_A_SAMPLE = 10

# The front camera of nuScenes' val split lacks 0.7 % of its frames (34,948 in 5,869 steps of 497.5 ms between samples)
# and has key frames 5, 6, 7 frames apart in 12, 82, 6 % of the cases; these four give 0.6 % and 9, 83, 7 %.
LOST_BY_ALL, LOST_BY_ONE = 0.005, 0.001  # share of the frames
MOVED_SAMPLES = 0.07  # share of the samples that are taken a frame early or late
LIDAR_JITTER_S = 0.001  # the lidar's own stamps wander, the cameras' do not
STREAM = 1  # of random numbers, apart from the scene's script


@dataclass(frozen=True)
class Firing:
    """What was taken in one scene. A scene begins with a sample.

    Attributes:
        taken_TN: whether camera n of `RIG` has a picture of turn t.
        samples_S: the turns that are samples, in order; every camera has a picture of each.
        jitter_S: by how much the lidar's stamp of each sample is late, seconds.
    """

    taken_TN: Bool[np.ndarray, "T N"]
    samples_S: Int64[np.ndarray, "S"]
    jitter_S: Float64[np.ndarray, "S"]

    def turns(self, camera: int) -> list[int]:
        """Turns in which camera n of `RIG` took a picture."""
        turns: list[int] = np.flatnonzero(self.taken_TN[:, camera]).tolist()
        return turns


def triggered_turns(turns: int, first: int = 0) -> Int64[np.ndarray, "K"]:
    """Those of the first `turns` turns in which cameras are triggered: 0, 1, 3, 5, ... where `first` is 0."""
    steps = np.tile(np.roll(STEP_TURNS, -first), turns // sum(STEP_TURNS) + 1)
    fired = np.concatenate([[0], np.cumsum(steps)])
    return fired[fired < turns]


def scene_firing(seed: int, split: str, index: int, seconds: float) -> Firing:
    """What is taken in scene `index` of a split. Depends on these arguments only.

    A longer scene begins as a shorter one does, but for the shorter one's last sample.
    """
    turns = int(round(seconds / LIDAR_TURN_S)) + 1
    rng = np.random.default_rng([seed, {"train": 0, "val": 1}[split], index, STREAM])
    triggered = np.isin(np.arange(turns), triggered_turns(turns, int(rng.integers(len(STEP_TURNS)))))
    own_TN, all_T1, move_T1, late_T1 = np.split(rng.random((turns, len(RIG) + 3)), [-3, -2, -1], axis=1)
    taken_TN = (own_TN >= LOST_BY_ONE) & (all_T1 >= LOST_BY_ALL)
    taken_TN[0] = True
    taken_TN &= triggered[:, None]
    samples_S = _samples(np.flatnonzero(taken_TN.all(axis=1)), move_T1[:, 0])
    return Firing(taken_TN, samples_S, LIDAR_JITTER_S * (2 * late_T1[samples_S, 0] - 1))


def _samples(whole: np.ndarray, move_T: np.ndarray) -> np.ndarray:
    """One of the turns `whole` near every tenth turn: the nearest, or where `move_T` is low a neighbour of that."""
    chosen = [0]
    for wanted in range(TURNS_A_SAMPLE, len(move_T), TURNS_A_SAMPLE):
        place = int(np.abs(whole - wanted).argmin())
        if move_T[wanted] < MOVED_SAMPLES:
            place += 1 if move_T[wanted] < MOVED_SAMPLES / 2 else -1
        turn = int(whole[min(place, len(whole) - 1)])
        if turn > chosen[-1]:
            chosen.append(turn)
    return np.array(chosen)
