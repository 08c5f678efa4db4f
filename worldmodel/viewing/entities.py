"""Where a recording's cameras are: their entity paths, and the camera whose times stand for the vehicle's."""

from worldmodel.viewing.rollout import Rollout

REFERENCE_CAMERA = "CAM_FRONT"


def camera_entity(camera: str) -> str:
    """Entity path of one camera; everything the camera saw or a model drew for it lies below."""
    import rerun as rr

    return f"world/ego_vehicle/{rr.escape_entity_path_part(camera)}"


def reference_camera(rollout: Rollout) -> int:
    """Number of the camera whose times and poses stand for the vehicle's."""
    return rollout.cameras.index(REFERENCE_CAMERA) if REFERENCE_CAMERA in rollout.cameras else 0
