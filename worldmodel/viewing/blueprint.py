"""The layout with which a recording opens: nothing needs to be clicked to understand it.

Rerun 0.41 has no setting for the first position of the time cursor, so the recording opens at its last frame
(`following`): every row has a picture there. The predicted frames are marked on the time line.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float64

from worldmodel.viewing.entities import camera_entity, reference_camera
from worldmodel.viewing.rollout import Rollout, short_name

if TYPE_CHECKING:
    import rerun.blueprint as rrb

# The window that the layout is made for, in logical pixels, less the viewer's own bars.
WIDTH, HEIGHT, TITLE, LEAST_BELOW = 1600, 930, 26, 235


@dataclass(frozen=True)
class Cell:
    """One picture of the layout: which camera shows what."""

    camera: int
    what: str


def default_blueprint(rollout: Rollout) -> "rrb.Blueprint":
    """The layout of one rollout, on the timeline `rollout_frame`.

    Four and more cameras are columns in ring order, with observed, predicted, truth and error as rows; two and three
    cameras are rows. Below lie the rig with its path, the curves and the settings. One camera has its pictures on the
    left and the rest on the right. Several methods are side by side in the first tab, and each has a tab of its own.
    """
    import rerun as rr
    import rerun.blueprint as rrb

    future = rrb.components.AbsoluteTimeRange(
        min=rr.TimeInt(seq=rollout.observed_frames), max=rr.TimeInt(seq=rollout.times_s.shape[1] - 1)
    )
    time_panel = rrb.TimePanel(
        state="collapsed",
        timeline="rollout_frame",
        fps=rollout.frame_rate,
        play_state="following",
        time_selection=future,
    )
    panels = (rrb.BlueprintPanel(state="hidden"), rrb.SelectionPanel(state="hidden"))
    return rrb.Blueprint(_layout(rollout), time_panel, *panels)


def _layout(rollout: Rollout) -> "rrb.Container":
    import rerun.blueprint as rrb

    pictures = [_pictures(rollout, method) for method in rollout.methods]
    main = pictures[0] if len(pictures) == 1 else rrb.Tabs(_side_by_side(rollout), *pictures)
    rest = [*_rig_view(rollout), *_curve_views(rollout), _settings_view()]
    if len(rollout.cameras) == 1:
        return rrb.Horizontal(main, rrb.Vertical(*rest), column_shares=[2.6, 1])
    rows, columns = _grid_size(rollout)
    height, width = rollout.observed_NFCHW.shape[-2:]
    above = rows * (WIDTH / columns * height / width + TITLE)
    below = max(HEIGHT - above, LEAST_BELOW)
    return rrb.Vertical(main, rrb.Horizontal(*rest), row_shares=[min(above, HEIGHT - below), below])


def _grid_size(rollout: Rollout) -> tuple[int, int]:
    """Rows and columns of the pictures."""
    kinds, cameras = len(_kinds(rollout)), len(rollout.cameras)
    if cameras == 1:
        return 2, kinds // 2
    return (cameras, kinds) if cameras <= 3 else (kinds, cameras)


def _kinds(rollout: Rollout) -> tuple[str, ...]:
    return ("observed", "predicted") if rollout.truth_NTCHW is None else ("observed", "predicted", "truth", "error")


def _pictures(rollout: Rollout, method: str) -> "rrb.Grid":
    import rerun.blueprint as rrb

    rows, columns = _grid_size(rollout)
    if 1 < len(rollout.cameras) <= 3:
        cells = [Cell(camera, kind) for camera in rollout.ring for kind in _kinds(rollout)]
    else:
        cells = [Cell(camera, kind) for kind in _kinds(rollout) for camera in rollout.ring]
    views = [_picture_view(rollout, method, cell) for cell in cells]
    return rrb.Grid(*views, grid_columns=columns, name=method)


def _side_by_side(rollout: Rollout) -> "rrb.Grid":
    """The truth and every method's prediction: rows of all cameras, or, of up to three cameras, columns."""
    import rerun.blueprint as rrb

    truth = [] if rollout.truth_NTCHW is None else [(rollout.methods[0], "truth", "truth")]
    videos = [*truth, *((method, "predicted", method) for method in rollout.methods)]
    if len(rollout.cameras) <= 3:
        cells = [(camera, *video) for camera in rollout.ring for video in videos]
    else:
        cells = [(camera, *video) for video in videos for camera in rollout.ring]
    views = [
        _picture_view(rollout, method, Cell(camera, what), f"{title} {short_name(rollout.cameras[camera])}")
        for camera, method, what, title in cells
    ]
    columns = len(rollout.cameras) if len(rollout.cameras) > 3 else len(videos)
    return rrb.Grid(*views, grid_columns=columns, name="side by side")


def _picture_view(rollout: Rollout, method: str, cell: Cell, title: str = "") -> "rrb.View":
    import rerun as rr
    import rerun.blueprint as rrb

    name = rollout.cameras[cell.camera]
    method = rr.escape_entity_path_part(method)
    below = cell.what if cell.what in ("observed", "truth") else f"{cell.what}/{method}"
    return rrb.Spatial2DView(
        origin=camera_entity(name), contents=f"$origin/{below}", name=title or f"{short_name(name)} {cell.what}"
    )


def _rig_view(rollout: Rollout) -> "list[rrb.View]":
    """The whole path from its right side; the cameras carry the shown method's pictures."""
    import rerun as rr
    import rerun.blueprint as rrb

    if rollout.extrinsics is None or rollout.intrinsics is None:
        return []
    contents = ["+ /world/ego_vehicle", "+ /world/trajectory/**"]
    for name in rollout.cameras:
        method = rr.escape_entity_path_part(rollout.methods[0])
        contents += [f"+ /{camera_entity(name)}", f"+ /{camera_entity(name)}/predicted/{method}"]
    position, target = _eye(rollout)
    eye = rrb.EyeControls3D(position=position, look_target=target, eye_up=(0.0, 0.0, 1.0))
    return [rrb.Spatial3DView(origin="world", contents=contents, name="rig and path", eye_controls=eye)]


def _eye(rollout: Rollout) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Where to stand and what to look at, metres in the world, so that the path fills a wide, low view."""
    poses = np.eye(4)[None] if rollout.ego_poses is None else rollout.ego_poses[reference_camera(rollout)]
    path = poses[:, :3, 3]
    along = path[-1] - path[0]
    length = float(np.linalg.norm(along))
    forward = along / length if length > 1.0 else poses[0, :3, 0]
    right = np.cross(forward, (0.0, 0.0, 1.0))
    target = (path.min(axis=0) + path.max(axis=0)) / 2
    away = (length + 5.0) * (0.5 * right - 0.25 * forward + np.array([0.0, 0.0, 0.4]))
    return target + away, target


def _curve_views(rollout: Rollout) -> "list[rrb.View]":
    import rerun as rr
    import rerun.blueprint as rrb

    if rollout.truth_NTCHW is None:
        return []
    legend = rrb.PlotLegend("LeftTop")
    means = [f"+ /metrics/psnr/{rr.escape_entity_path_part(method)}/mean" for method in rollout.methods]
    name = "PSNR (dB)" if len(rollout.cameras) == 1 else "PSNR, mean of cameras (dB)"
    views: list[rrb.View] = [rrb.TimeSeriesView(origin="metrics/psnr", contents=means, name=name, plot_legend=legend)]
    if len(rollout.cameras) > 1:
        root = f"metrics/psnr/{rr.escape_entity_path_part(rollout.methods[0])}"
        contents = ["+ $origin/**", "- $origin/mean"]
        name = f"PSNR, {rollout.methods[0]} (dB)"
        views.append(rrb.TimeSeriesView(origin=root, contents=contents, name=name, plot_legend=legend))
    return views


def _settings_view() -> "rrb.View":
    import rerun.blueprint as rrb

    return rrb.TextDocumentView(origin="settings", name="settings")
