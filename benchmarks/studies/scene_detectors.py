"""PySceneDetect's detectors on the videos that `scene_cuts` measures ours with; needs `scenedetect-headless`.

They see 144 x 256 BGR pictures, one thread, their own defaults.
"""

import time
from pathlib import Path

import av

from worldmodel.datasets.video.decode import decoded
from worldmodel.datasets.video.reader import VideoReader
from worldmodel.measure.report import Record

NAMES = ("ContentDetector", "AdaptiveDetector", "HashDetector", "HistogramDetector", "ThresholdDetector")


def others(uncut: list[Path], clips: list[Path]) -> list[Record]:
    """One row a detector: what it says in videos without cuts, and in each of the clips; CPU time a frame."""
    rows: list[Record] = [{"detector": name, "CPU-ms per frame": 0.0, "in uncut films": 0} for name in NAMES]
    frames = 0
    for path in [*uncut, *clips]:
        cuts_by_detector, seconds, count = detected(path)
        frames += count
        for row, cuts, cost in zip(rows, cuts_by_detector, seconds, strict=True):
            row["CPU-ms per frame"] += 1000 * cost
            if path in clips:
                row[path.stem] = ", ".join(map(str, cuts)) or "none"
            else:
                row["in uncut films"] += len([cut for cut in cuts if cut > 1])
    for row in rows:
        row["CPU-ms per frame"] = round(row["CPU-ms per frame"] / frames, 2)
    return rows


def detected(path: Path) -> tuple[list[list[int]], list[float], int]:
    """Cuts and CPU seconds of every detector, and the number of frames."""
    import cv2
    import scenedetect.detectors
    from scenedetect.common import FrameTimecode

    cv2.setNumThreads(1)
    detectors = [getattr(scenedetect.detectors, name)() for name in NAMES]
    cuts, seconds, number = [list[int]() for _ in NAMES], [0.0] * len(NAMES), 0
    source = VideoReader(path)
    rate = source.index().frame_rate
    with source.open_container() as container:
        stream = source.video_stream(container)
        for frame in decoded(container.demux(stream), stream):
            if not isinstance(frame, av.VideoFrame):
                continue
            picture, at = frame.reformat(256, 144, "bgr24").to_ndarray(), FrameTimecode(number, fps=rate)
            for place, detector in enumerate(detectors):
                start = time.process_time()
                cuts[place] += [cut.frame_num for cut in detector.process_frame(at, picture)]
                seconds[place] += time.process_time() - start
            number += 1
    for place, detector in enumerate(detectors):
        cuts[place] += [cut.frame_num for cut in detector.post_process(FrameTimecode(number - 1, fps=rate))]
    return cuts, seconds, number
