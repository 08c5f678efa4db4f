"""One graph with the loop in it against the three graphs and the loop on the host."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from export_models import some_video

from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.sessions import open_session
from worldmodel.export.single_file import write_single
from worldmodel.files import file_sha256


@pytest.mark.parametrize(("family", "steps"), [("ltx", 5), ("wan", 5), ("wan", 10)])
def test_the_loop_predicts_what_the_host_does(
    artifact: Callable[..., Path], tmp_path: Path, family: str, steps: int
) -> None:
    folder, video = artifact(family, "fp32"), some_video().numpy()
    manifest = Manifest.read(folder)
    for name in manifest.files:
        (tmp_path / name).symlink_to(folder / name)
    part = write_single(tmp_path, manifest.parts, manifest.schedule(steps))
    assert [port.name for port in (*part.inputs, *part.outputs)] == ["observed", "predicted"]
    assert part.inputs[0].shape == part.outputs[0].shape == manifest.video_shape
    session = open_session(tmp_path / part.file)
    with Predictor.open(folder) as predictor:
        expected = predictor.predict(video, steps)
    difference = np.abs(session.run(None, {"observed": video})[0].astype(int) - expected)
    assert difference.max() <= 1 and difference.mean() < 1e-3
    assert {name: file_sha256(folder / name) for name in manifest.files} == manifest.files
