"""One drawn scene as rows of the nuScenes tables.

Tokens are 32 hexadecimal digits that follow from the seed, the scene and what they stand for.
"""

from worldmodel.datasets.timing import LIDAR_TURN_S
from worldmodel.datasets.toyworld.annotations import annotate
from worldmodel.datasets.toyworld.cars import BODIES
from worldmodel.datasets.toyworld.firing import Firing
from worldmodel.datasets.toyworld.rig import RIG, RigCamera
from worldmodel.datasets.toyworld.rows import Row, Rows, heading, token
from worldmodel.datasets.toyworld.script import SceneScript

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
EPOCH_US = 1_533_000_000_000_000
FIRST_TURN_S = 0.1  # into the script ends the first turn, as cameras fire before the end of theirs


class SceneTables:
    """Times, file names and table rows of one scene.

    Args:
        script: the scene. firing: what its cameras take. seed: the dataset's.
        number: the scene's place in the dataset; sets its day time.
        size: width and height of the pictures.
    """

    def __init__(self, script: SceneScript, firing: Firing, seed: int, number: int, size: tuple[int, int]) -> None:
        self.script, self.firing, self.seed, self.size = script, firing, seed, size
        self.start_us = EPOCH_US + number * 600_000_000
        self.logfile = f"toy{seed}-{script.name}"
        self.samples = firing.samples_S.tolist()

    def token(self, *parts: object) -> str:
        """The token of something in this scene."""
        return token(self.seed, self.script.name, *parts)

    def time_us(self, turn: int, camera: RigCamera) -> int:
        """Time stamp of a camera's picture of a turn of the lidar."""
        return self._stamp(FIRST_TURN_S + turn * LIDAR_TURN_S + camera.fires_s)

    def sample_us(self, place: int) -> int:
        """Time stamp of a sample: the lidar's, at the end of the turn."""
        turn = self.samples[place]
        return self._stamp(FIRST_TURN_S + turn * LIDAR_TURN_S + float(self.firing.jitter_S[place]))

    def _stamp(self, seconds: float) -> int:
        return self.start_us + round(seconds * 1e6)

    def script_s(self, time_us: int) -> float:
        """The script's time at a time stamp."""
        return (time_us - self.start_us) * 1e-6

    def filename(self, turn: int, camera: RigCamera) -> str:
        """Picture file, relative to the dataset's root, named as in nuScenes."""
        folder = "samples" if turn in self.samples else "sweeps"
        return f"{folder}/{camera.channel}/{self.logfile}__{camera.channel}__{self.time_us(turn, camera)}.jpg"

    def rows(self) -> Rows:
        """All rows that belong to this scene alone."""
        rows: Rows = {name: [] for name in TABLES}
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
                "nbr_samples": len(self.samples),
                "first_sample_token": self.token("sample", self.samples[0]),
                "last_sample_token": self.token("sample", self.samples[-1]),
                "name": self.script.name,
                "description": f"{self.script.kind.replace('_', ' ')}, {self.script.district}",
            }
        ]
        rows["sample"] = [self._sample(place) for place in range(len(self.samples))]
        for number, camera in enumerate(RIG):
            rows["calibrated_sensor"].append(self._calibrated(camera))
            turns = self.firing.turns(number)
            for before, turn, after in zip([None, *turns[:-1]], turns, [*turns[1:], None], strict=True):
                rows["sample_data"].append(self._sample_data(turn, before, after, camera))
                rows["ego_pose"].append(self._ego_pose(turn, camera))
        samples = [(row["token"], self.script_s(row["timestamp"])) for row in rows["sample"]]
        annotate(rows, self.script, samples, self.token)
        return rows

    def _sample(self, place: int) -> Row:
        last = len(self.samples) - 1
        return {
            "token": self.token("sample", self.samples[place]),
            "timestamp": self.sample_us(place),
            "prev": self.token("sample", self.samples[place - 1]) if place else "",
            "next": self.token("sample", self.samples[place + 1]) if place < last else "",
            "scene_token": self.token("scene"),
        }

    def _calibrated(self, camera: RigCamera) -> Row:
        return {
            "token": self.token("calibrated", camera.channel),
            "sensor_token": token("sensor", camera.channel),
            "translation": list(camera.translation),
            "rotation": list(camera.rotation),
            "camera_intrinsic": camera.intrinsic(self.size).tolist(),
        }

    def _sample_data(self, turn: int, before: int | None, after: int | None, camera: RigCamera) -> Row:
        own = self.token("data", camera.channel, turn)
        sample = next((sample for sample in self.samples if sample >= turn), self.samples[-1])
        return {
            "token": own,
            "sample_token": self.token("sample", sample),
            "ego_pose_token": own,
            "calibrated_sensor_token": self.token("calibrated", camera.channel),
            "timestamp": self.time_us(turn, camera),
            "fileformat": "jpg",
            "is_key_frame": turn in self.samples,
            "height": self.size[1],
            "width": self.size[0],
            "filename": self.filename(turn, camera),
            "prev": "" if before is None else self.token("data", camera.channel, before),
            "next": "" if after is None else self.token("data", camera.channel, after),
        }

    def _ego_pose(self, turn: int, camera: RigCamera) -> Row:
        time_us = self.time_us(turn, camera)
        x, y, yaw = self.script.ego.at(self.script_s(time_us))
        return {
            "token": self.token("data", camera.channel, turn),
            "timestamp": time_us,
            "rotation": heading(yaw),
            "translation": [x, y, 0.0],
        }


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
