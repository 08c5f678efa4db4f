"""A rollout as a Rerun recording, with the entity paths of Rerun's own nuScenes example.

    world                                        right-handed, Z up
    world/ego_vehicle                            pose over time
    world/ego_vehicle/CAM_X                      static Transform3D + Pinhole
    world/ego_vehicle/CAM_X/observed             images; beside it predicted/<method>, truth, error/<method>
    world/trajectory/observed, .../future        the vehicle's path
    metrics/psnr/<method>/<camera>, .../mean     dB per frame
    settings                                     what the run was made with

Timelines: `timestamp` (capture time of each frame) and `rollout_frame` (0 = first observed frame, F = first predicted
frame; Rerun's viewer 0.41 shows no encoded image at a negative time, so prediction does not start at 0). Cameras
do not fire in step: the vehicle's pose is the one at the times of the reference camera, CAM_FRONT where there is one,
else the first.
"""

import logging
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from worldmodel.files import written_whole
from worldmodel.measure.frame_scores import psnr_per_frame
from worldmodel.viewing.blueprint import default_blueprint
from worldmodel.viewing.entities import camera_entity, reference_camera
from worldmodel.viewing.images import ERROR_WHITE, MEDIA_TYPES, encode_image
from worldmodel.viewing.rollout import Rollout, short_name
from worldmodel.viewing.sequences import FrameSequence, camera_sequences

if TYPE_CHECKING:
    import rerun as rr

APPLICATION = "worldmodel_rollout"
OBSERVED_COLOUR, FUTURE_COLOUR = (170, 170, 170), (80, 170, 255)
COLOURS = (
    (80, 170, 255), (255, 150, 50), (110, 210, 110), (235, 100, 170), (240, 220, 80), (90, 220, 220), (175, 140, 255),
)  # fmt: skip
# Beside the images' own bytes; measured on recordings of 1 to 6 cameras.
BYTES_OF_BLUEPRINT, BYTES_PER_SEQUENCE, BYTES_PER_IMAGE = 120_000, 9_000, 60

log = logging.getLogger(__name__)


def write_recording(path: str | Path, rollout: Rollout, *, image_format: str = "jpeg", quality: int = 90) -> Path:
    """Write `rollout` to `path` (.rrd) with the default blueprint inside; returns the path.

    Written under a temporary name and renamed; the estimated size is logged before anything is written.

    Raises:
        InputError: the name does not end in .rrd, or `image_format` is neither `jpeg` nor `png`.
    """
    import rerun as rr

    path = Path(path)
    log.info("%s: about %.1f MB", path, estimate_bytes(rollout, quality, image_format=image_format) / 1e6)
    with written_whole(path, ".rrd") as partial:
        stream = rr.RecordingStream(APPLICATION, recording_id=str(uuid.uuid4()))
        stream.save(partial, default_blueprint=default_blueprint(rollout))
        stream.send_recording_name(f"{rollout.scene} ({path.stem})")
        stream.log("settings", rr.TextDocument(settings_text(rollout), media_type="text/markdown"), static=True)
        _log_vehicle(stream, rollout)
        _log_curves(stream, rollout)
        for camera in range(len(rollout.cameras)):
            _log_rig(stream, rollout, camera)
            for sequence in camera_sequences(rollout, camera):
                _log_sequence(stream, rollout, camera, sequence, image_format, quality)
        stream.flush()
        stream.disconnect()
    return path


def estimate_bytes(rollout: Rollout, quality: int = 90, *, image_format: str = "jpeg") -> int:
    """About how large the recording will be, in bytes: two frames of every image sequence are encoded."""
    total = float(BYTES_OF_BLUEPRINT)
    for camera in range(len(rollout.cameras)):
        for sequence in camera_sequences(rollout, camera):
            samples = {sequence.length // 4, (3 * sequence.length) // 4}
            encoded = [len(encode_image(sequence.frame(index), image_format, quality)) for index in samples]
            total += BYTES_PER_SEQUENCE + sequence.length * (np.mean(encoded) + BYTES_PER_IMAGE)
    return int(total)


def settings_text(rollout: Rollout) -> str:
    """The run's settings as a Markdown list."""
    rows = {
        "scene": rollout.scene,
        "frames": f"{rollout.observed_frames} observed, {rollout.horizon} predicted, {rollout.truth_frames} with truth",
        "rollout_frame": f"{rollout.observed_frames} is the first predicted frame",
        "chunk": f"{rollout.chunk_frames} frames at {rollout.frame_rate:g} Hz",
        "image size": " x ".join(str(side) for side in rollout.observed_NFCHW.shape[-2:]),
        "methods": ", ".join(rollout.methods),
        **rollout.settings,
    }
    if rollout.truth_NTCHW is not None:
        rows["error"] = f"mean absolute RGB difference; black 0, red, yellow, white {ERROR_WHITE:g} of 255 or more"
    return "\n".join(f"- **{name}**: {value}" for name, value in rows.items()) + "\n"


def _log_vehicle(stream: "rr.RecordingStream", rollout: Rollout) -> None:
    import rerun as rr

    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    if rollout.ego_poses is None:
        return
    camera = reference_camera(rollout)
    poses, observed = rollout.ego_poses[camera], rollout.observed_frames
    stream.send_columns(
        "world/ego_vehicle",
        _indexes(rollout, camera, 0, len(poses)),
        rr.Transform3D.columns(translation=poses[:, :3, 3], mat3x3=poses[:, :3, :3]),
    )
    for name, colour, piece in (
        ("observed", OBSERVED_COLOUR, poses[:observed]),
        ("future", FUTURE_COLOUR, poses[observed - 1 :]),
    ):
        strip = rr.LineStrips3D([piece[:, :3, 3]], colors=[colour], radii=[0.1])
        stream.log(f"world/trajectory/{name}", strip, static=True)


def _log_rig(stream: "rr.RecordingStream", rollout: Rollout, camera: int) -> None:
    import rerun as rr

    entity = camera_entity(rollout.cameras[camera])
    height, width = rollout.observed_NFCHW.shape[-2:]
    if rollout.extrinsics is not None:
        pose = rollout.extrinsics[camera]
        stream.log(entity, rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]), static=True)
    if rollout.intrinsics is not None:
        pinhole = rr.Pinhole(
            image_from_camera=rollout.intrinsics[camera],
            width=width,
            height=height,
            camera_xyz=rr.ViewCoordinates.RDF,
            image_plane_distance=3.5,
        )
        stream.log(entity, pinhole, static=True)


def _log_sequence(
    stream: "rr.RecordingStream",
    rollout: Rollout,
    camera: int,
    sequence: FrameSequence,
    image_format: str,
    quality: int,
) -> None:
    import rerun as rr

    parts = [rr.escape_entity_path_part(part) for part in sequence.path]
    entity = "/".join([camera_entity(rollout.cameras[camera]), *parts])
    blobs = [encode_image(sequence.frame(index), image_format, quality) for index in range(sequence.length)]
    indexes = _indexes(rollout, camera, sequence.start, sequence.length)
    stream.send_columns(
        entity, indexes, rr.EncodedImage.columns(blob=blobs, media_type=[MEDIA_TYPES[image_format]] * sequence.length)
    )
    end = sequence.start + sequence.length
    if sequence.path[0] in ("truth", "error") and end < rollout.times_s.shape[1]:
        # Without this the last true frame would stand beside every later prediction as if it were its truth.
        stream.send_columns(entity, _indexes(rollout, camera, end, 1), rr.Clear.columns(is_recursive=[False]))


def _log_curves(stream: "rr.RecordingStream", rollout: Rollout) -> None:
    import rerun as rr

    if rollout.truth_NTCHW is None:
        return
    for number, (method, video_NGCHW) in enumerate(rollout.predicted_NGCHW.items()):
        # Equal frames have no finite PSNR; 100 dB keeps the plot's axis readable.
        psnr_NT = np.minimum(psnr_per_frame(video_NGCHW[:, : rollout.truth_frames], rollout.truth_NTCHW), 100.0)
        psnr_NT = np.pad(psnr_NT, ((0, 0), (rollout.observed_frames, 0)), constant_values=np.nan)
        root = f"metrics/psnr/{rr.escape_entity_path_part(method)}"
        curves = [(rollout.cameras[camera], psnr_NT[camera], camera) for camera in rollout.ring]
        curves.append(("mean", psnr_NT.mean(axis=0), reference_camera(rollout)))
        for place, (name, values, camera) in enumerate(curves):
            line = rr.SeriesLines(names=short_name(name), widths=1.5, colors=COLOURS[place % len(COLOURS)])
            if name == "mean":
                line = rr.SeriesLines(names=method, widths=3.0, colors=COLOURS[number % len(COLOURS)])
            entity = f"{root}/{rr.escape_entity_path_part(name)}"
            stream.log(entity, line, static=True)
            indexes = _indexes(rollout, camera, 0, len(values))
            stream.send_columns(entity, indexes, rr.Scalars.columns(scalars=values))


def _indexes(rollout: Rollout, camera: int, start: int, length: int) -> list["rr.TimeColumn"]:
    import rerun as rr

    return [
        rr.TimeColumn("timestamp", timestamp=rollout.times_s[camera, start : start + length]),
        rr.TimeColumn("rollout_frame", sequence=range(start, start + length)),
    ]
