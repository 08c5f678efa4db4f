"""Boxes of the other cars at the samples of one scene, as rows of `sample_annotation` and `instance`."""

from collections.abc import Callable

import numpy as np

from worldmodel.datasets.toyworld.cars import BODIES
from worldmodel.datasets.toyworld.rows import Row, Rows, heading, token
from worldmodel.datasets.toyworld.script import SceneScript, Vehicle

ANNOTATED_WITHIN_M = 60.0


def annotate(
    rows: Rows, script: SceneScript, samples: list[tuple[str, float]], scene_token: Callable[..., str]
) -> None:
    """Add the boxes of every car at the samples at which it is near, each run of them an instance.

    Args:
        samples: token and time, in seconds of the script, of each sample.
        scene_token: gives the token of something in this scene.
    """
    for number, vehicle in enumerate(script.vehicles):
        run: list[Row] = []
        for sample, now in samples:
            if _near(script, vehicle, now):
                run.append(_box(vehicle, now) | {"token": scene_token("box", number, sample), "sample_token": sample})
            elif run:
                _add_run(rows, vehicle, run)
                run = []
        if run:
            _add_run(rows, vehicle, run)


def _near(script: SceneScript, vehicle: Vehicle, now: float) -> bool:
    (x, y, _), (ego_x, ego_y, _) = vehicle.motion.at(now), script.ego.at(now)
    return bool(np.hypot(x - ego_x, y - ego_y) <= ANNOTATED_WITHIN_M)


def _box(vehicle: Vehicle, now: float) -> Row:
    x, y, yaw = vehicle.motion.at(now)
    (length, width, height), _ = BODIES[vehicle.body]
    moving = vehicle.motion.speed(now) > 0.3
    state = "vehicle.moving" if moving else "vehicle.parked" if vehicle.parked else "vehicle.stopped"
    return {
        "visibility_token": "4",
        "attribute_tokens": [token("attribute", state)],
        "translation": [x, y, height / 2],
        "size": [width, length, height],
        "rotation": heading(yaw),
        "num_lidar_pts": 0,
        "num_radar_pts": 0,
    }


def _add_run(rows: Rows, vehicle: Vehicle, run: list[Row]) -> None:
    instance = token("instance", run[0]["token"])
    for place, box in enumerate(run):
        box["instance_token"] = instance
        box["prev"] = run[place - 1]["token"] if place else ""
        box["next"] = run[place + 1]["token"] if place + 1 < len(run) else ""
    rows["sample_annotation"] += run
    rows["instance"].append(
        {
            "token": instance,
            "category_token": token("category", BODIES[vehicle.body][1]),
            "nbr_annotations": len(run),
            "first_annotation_token": run[0]["token"],
            "last_annotation_token": run[-1]["token"],
        }
    )
