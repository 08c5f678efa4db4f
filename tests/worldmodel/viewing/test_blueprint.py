"""The layout that a recording carries."""

from collections import Counter
from pathlib import Path

import pytest

from worldmodel.datasets.nuscenes import RING
from worldmodel.viewing import write_recording
from worldmodel.viewing.rollout import ring_order


def blueprint_rows(path: Path, column_end: str) -> list[tuple[str, list]]:
    """Entity path and values of every column of the stored blueprint whose name ends like that."""
    from rerun.chunk import RrdReader

    reader = RrdReader(path)
    rows = []
    for chunk in reader.stream(store=reader.blueprints()[0]):
        batch = chunk.to_record_batch()
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if name.endswith(column_end):
                rows += [(str(chunk.entity_path), row) for row in column.to_pylist() if row is not None]
    return rows


def blueprint_values(path: Path, column_end: str) -> list:
    """All values of such columns."""
    return [value for _, row in blueprint_rows(path, column_end) for value in row]


@pytest.mark.parametrize(
    "cameras, truth",
    [(RING, 4), (RING, 0), (("CAM_BACK", "CAM_FRONT"), 4), (("film.mp4",), 4), (("a", "b", "c", "d"), 3)],
)
def test_every_picture_has_a_view(make_rollout, tmp_path, cameras, truth):
    rollout = make_rollout(cameras, observed=3, horizon=4, truth=truth, height=32, width=48)
    path = write_recording(tmp_path / "layout.rrd", rollout)
    names = blueprint_values(path, "display_name")
    kinds = ("observed", "predicted", "truth", "error") if truth else ("observed", "predicted")
    for camera in cameras:
        for kind in kinds:
            assert names.count(f"{camera.removeprefix('CAM_')} {kind}") == 1
    classes = Counter(blueprint_values(path, "class_identifier"))
    assert classes["2D"] == len(cameras) * len(kinds)
    assert classes["3D"] == (rollout.extrinsics is not None)
    assert classes["TimeSeries"] == (0 if not truth else 1 if len(cameras) == 1 else 2)
    assert classes["TextDocument"] == 1
    assert blueprint_values(path, "TimePanelBlueprint:timeline") == ["rollout_frame"]


def test_views_stand_in_ring_order(make_rollout, tmp_path):
    shuffled = (RING[4], RING[0], RING[2], RING[5], RING[1], RING[3])
    rollout = make_rollout(shuffled, observed=2, horizon=2, truth=2, height=32, width=48)
    path = write_recording(tmp_path / "ring.rrd", rollout)
    names = {entity.strip("/"): row[0] for entity, row in blueprint_rows(path, "ViewBlueprint:display_name")}
    grid = max((row for _, row in blueprint_rows(path, "ContainerBlueprint:contents")), key=len)
    ring = ["FRONT_LEFT", "FRONT", "FRONT_RIGHT", "BACK_RIGHT", "BACK", "BACK_LEFT"]
    kinds = ("observed", "predicted", "truth", "error")
    assert [names[view] for view in grid] == [f"{camera} {kind}" for kind in kinds for camera in ring]
    assert 6 in blueprint_values(path, "ContainerBlueprint:grid_columns")


def test_methods_are_tabs(small_rollout, tmp_path):
    names = blueprint_values(write_recording(tmp_path / "two.rrd", small_rollout), "display_name")
    assert {"side by side", "ours", "repeat"} <= set(names) and names.count("FRONT predicted") == 2
    assert {"ours FRONT", "repeat FRONT", "truth FRONT"} <= set(names)


def test_other_names_keep_their_order():
    assert ring_order(("rear", "front", "CAM_FRONT")) == [0, 1, 2]
    assert ring_order(("CAM_BACK", "CAM_FRONT")) == [1, 0]
