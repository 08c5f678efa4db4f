"""One drawn scene as rows of the nuScenes tables.

Tokens are 32 hexadecimal digits that follow from the seed, the scene and what they stand for.
"""

import hashlib
from typing import Any

import numpy as np

from worldmodel.datasets.toyworld.cars import BODIES
from worldmodel.datasets.toyworld.rig import RIG, RigCamera
from worldmodel.datasets.toyworld.script import SceneScript, Vehicle

Rows = dict[str, list[dict[str, Any]]]

TABLES = (
    "category",
    "attribute",
    "visibility",
    "instance",
    "sensor",
    "calibrated_sensor",
    "ego_pose",
    "log",
    "scene",
    "sample",
    "sample_data",
    "sample_annotation",
    "map",
)
SWEEP_RATE, SWEEPS_PER_KEYFRAME = 12, 6
EPOCH_US = 1_533_000_000_000_000
FIRST_SWEEP_S = 0.1  # into the script, so that cameras may fire before the sweep's own time
ANNOTATED_WITHIN_M = 60.0


def token(*parts: object) -> str:
    """32 hexadecimal digits for this thing."""
    return hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def heading(yaw: float) -> list[float]:
    """Quaternion w x y z of a turn about the vertical axis."""
    return [float(np.cos(yaw / 2)), 0.0, 0.0, float(np.sin(yaw / 2))]


class SceneTables:
    """Times, file names and table rows of one scene.

    Args:
        script: the scene. seed: the dataset's. number: the scene's place in the dataset; sets its day time.
        size: width and height of the pictures.
    """

    def __init__(self, script: SceneScript, seed: int, number: int, size: tuple[int, int]) -> None:
        self.script, self.seed, self.size = script, seed, size
        self.start_us = EPOCH_US + number * 600_000_000
        self.logfile = f"toy{seed}-{script.name}"
        self.sweeps = int(round(script.seconds * SWEEP_RATE)) + 1

    def token(self, *parts: object) -> str:
        """The token of something in this scene."""
        return token(self.seed, self.script.name, *parts)

    def time_us(self, sweep: int, camera: RigCamera | None = None) -> int:
        """Time stamp of a sweep, or of a camera's picture of it."""
        seconds = FIRST_SWEEP_S + sweep / SWEEP_RATE + (camera.trigger_s if camera else 0.0)
        return self.start_us + round(seconds * 1e6)

    def script_s(self, time_us: int) -> float:
        """The script's time at a time stamp."""
        return (time_us - self.start_us) * 1e-6

    def filename(self, sweep: int, camera: RigCamera) -> str:
        """Picture file, relative to the dataset's root, named as in nuScenes."""
        folder = "sweeps" if sweep % SWEEPS_PER_KEYFRAME else "samples"
        return f"{folder}/{camera.channel}/{self.logfile}__{camera.channel}__{self.time_us(sweep, camera)}.jpg"

    def rows(self) -> Rows:
        """All rows that belong to this scene alone."""
        rows: Rows = {name: [] for name in TABLES}
        keyframes = range(0, self.sweeps, SWEEPS_PER_KEYFRAME)
        rows["log"] = [
            {
                "token": self.token("log"),
                "logfile": self.logfile,
                "vehicle": "toy",
                "date_captured": "2018-07-31",
                "location": f"toyworld-{self.script.district}",
            }
        ]
        rows["map"] = [
            {
                "category": "semantic_prior",
                "token": self.token("map"),
                "filename": f"maps/{self.token('map')}.png",
                "log_tokens": [self.token("log")],
            }
        ]
        rows["scene"] = [
            {
                "token": self.token("scene"),
                "log_token": self.token("log"),
                "nbr_samples": len(keyframes),
                "first_sample_token": self.token("sample", 0),
                "last_sample_token": self.token("sample", keyframes[-1]),
                "name": self.script.name,
                "description": f"{self.script.kind.replace('_', ' ')}, {self.script.district}",
            }
        ]
        rows["sample"] = [self._sample(sweep, keyframes[-1]) for sweep in keyframes]
        for camera in RIG:
            rows["calibrated_sensor"].append(self._calibrated(camera))
            for sweep in range(self.sweeps):
                rows["sample_data"].append(self._sample_data(sweep, camera, keyframes[-1]))
                rows["ego_pose"].append(self._ego_pose(sweep, camera))
        for number, vehicle in enumerate(self.script.vehicles):
            self._annotate(rows, number, vehicle, keyframes)
        return rows

    def _sample(self, sweep: int, last: int) -> dict[str, Any]:
        step = SWEEPS_PER_KEYFRAME
        return {
            "token": self.token("sample", sweep),
            "timestamp": self.time_us(sweep),
            "prev": self.token("sample", sweep - step) if sweep else "",
            "next": self.token("sample", sweep + step) if sweep < last else "",
            "scene_token": self.token("scene"),
        }

    def _calibrated(self, camera: RigCamera) -> dict[str, Any]:
        return {
            "token": self.token("calibrated", camera.channel),
            "sensor_token": token("sensor", camera.channel),
            "translation": list(camera.translation),
            "rotation": list(camera.rotation),
            "camera_intrinsic": camera.intrinsic(self.size).tolist(),
        }

    def _sample_data(self, sweep: int, camera: RigCamera, last_keyframe: int) -> dict[str, Any]:
        own = self.token("data", camera.channel, sweep)
        keyframe = min(-(-sweep // SWEEPS_PER_KEYFRAME) * SWEEPS_PER_KEYFRAME, last_keyframe)
        return {
            "token": own,
            "sample_token": self.token("sample", keyframe),
            "ego_pose_token": own,
            "calibrated_sensor_token": self.token("calibrated", camera.channel),
            "timestamp": self.time_us(sweep, camera),
            "fileformat": "jpg",
            "is_key_frame": sweep % SWEEPS_PER_KEYFRAME == 0,
            "height": self.size[1],
            "width": self.size[0],
            "filename": self.filename(sweep, camera),
            "prev": self.token("data", camera.channel, sweep - 1) if sweep else "",
            "next": self.token("data", camera.channel, sweep + 1) if sweep + 1 < self.sweeps else "",
        }

    def _ego_pose(self, sweep: int, camera: RigCamera) -> dict[str, Any]:
        time_us = self.time_us(sweep, camera)
        x, y, yaw = self.script.ego.at(self.script_s(time_us))
        return {
            "token": self.token("data", camera.channel, sweep),
            "timestamp": time_us,
            "rotation": heading(yaw),
            "translation": [x, y, 0.0],
        }

    def _annotate(self, rows: Rows, number: int, vehicle: Vehicle, keyframes: range) -> None:
        """Boxes of one car at the keyframes at which it is near, each run of them an instance."""
        run: list[dict[str, Any]] = []
        for sweep in [*keyframes, None]:
            box = None if sweep is None else self._box(number, vehicle, sweep)
            if box is not None:
                run.append(box)
            elif run:
                self._close_run(rows, vehicle, run)
                run = []

    def _box(self, number: int, vehicle: Vehicle, sweep: int) -> dict[str, Any] | None:
        now = self.script_s(self.time_us(sweep))
        x, y, yaw = vehicle.motion.at(now)
        ego_x, ego_y, _ = self.script.ego.at(now)
        if np.hypot(x - ego_x, y - ego_y) > ANNOTATED_WITHIN_M:
            return None
        (length, width, height), _ = BODIES[vehicle.body]
        moving = vehicle.motion.speed(now) > 0.3
        state = "vehicle.moving" if moving else "vehicle.parked" if vehicle.parked else "vehicle.stopped"
        return {
            "token": self.token("box", number, sweep),
            "sample_token": self.token("sample", sweep),
            "instance_token": "",
            "visibility_token": "4",
            "attribute_tokens": [token("attribute", state)],
            "translation": [x, y, height / 2],
            "size": [width, length, height],
            "rotation": heading(yaw),
            "prev": "",
            "next": "",
            "num_lidar_pts": 0,
            "num_radar_pts": 0,
        }

    def _close_run(self, rows: Rows, vehicle: Vehicle, run: list[dict[str, Any]]) -> None:
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


def shared_rows() -> Rows:
    """Rows that do not depend on a scene: sensors, categories, attributes, visibility levels."""
    categories = sorted({category for _, category in BODIES.values()})
    levels = ("v0-40", "v40-60", "v60-80", "v80-100")
    return {
        "sensor": [
            {"token": token("sensor", camera.channel), "channel": camera.channel, "modality": "camera"}
            for camera in RIG
        ],
        "category": [{"token": token("category", name), "name": name, "description": ""} for name in categories],
        "attribute": [
            {"token": token("attribute", name), "name": name, "description": ""}
            for name in ("vehicle.moving", "vehicle.parked", "vehicle.stopped")
        ],
        "visibility": [
            {"token": str(number), "level": level, "description": "not computed: every box says 4"}
            for number, level in enumerate(levels, 1)
        ],
    }
