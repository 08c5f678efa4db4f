"""The layout with which a recording opens: nothing needs to be clicked to understand it."""

from typing import TYPE_CHECKING

from worldmodel.viewing.recording import camera_entity
from worldmodel.viewing.rollout import Rollout, short_name

if TYPE_CHECKING:
    import rerun.blueprint as rrb


def default_blueprint(rollout: Rollout) -> "rrb.Blueprint":
    """Cameras in ring order as columns; observed, predicted, truth, error as rows; below them the rig and the curves."""
    import rerun.blueprint as rrb

    pictures = _pictures(rollout, rollout.methods[0])
    below = [*_rig_view(rollout), *_curve_view(rollout), rrb.TextDocumentView(origin="settings", name="settings")]
    return rrb.Blueprint(
        rrb.Vertical(pictures, rrb.Horizontal(*below), row_shares=[3.2, 1]),
        rrb.TimePanel(
            state="collapsed", timeline="rollout_frame", fps=rollout.frame_rate, play_state="playing", loop_mode="all"
        ),
        rrb.BlueprintPanel(state="hidden"),
        rrb.SelectionPanel(state="hidden"),
    )


def _pictures(rollout: Rollout, method: str) -> "rrb.Grid":
    import rerun as rr
    import rerun.blueprint as rrb

    rows = ["observed", f"predicted/{rr.escape_entity_path_part(method)}"]
    if rollout.truth_NTCHW is not None:
        rows += ["truth", f"error/{rr.escape_entity_path_part(method)}"]
    views = [
        rrb.Spatial2DView(
            origin=camera_entity(rollout.cameras[camera]),
            contents=f"$origin/{row}",
            name=f"{short_name(rollout.cameras[camera])} {row.split('/')[0]}",
        )
        for row in rows
        for camera in rollout.ring
    ]
    return rrb.Grid(*views, grid_columns=len(rollout.cameras))


def _rig_view(rollout: Rollout) -> "list[rrb.View]":
    import rerun as rr
    import rerun.blueprint as rrb

    if rollout.extrinsics is None or rollout.intrinsics is None:
        return []
    hidden = [f"- {camera_entity(name)}/{what}/**" for name in rollout.cameras for what in ("truth", "error", "observed")]
    return [
        rrb.Spatial3DView(
            origin="world/ego_vehicle",
            contents=["+ /world/**", *hidden],
            name="rig and path",
        )
    ]


def _curve_view(rollout: Rollout) -> "list[rrb.View]":
    import rerun.blueprint as rrb

    if rollout.truth_NTCHW is None:
        return []
    return [rrb.TimeSeriesView(origin="metrics/psnr", name="PSNR per frame, dB")]
