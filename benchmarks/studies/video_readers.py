"""Ways to read spans of frames from a video, for comparison: ours, decord, OpenCV and plain PyAV.

Each opens the file, reads the spans at a size with one decoder thread, and closes the file.

Shape legend: F frames, H height, W width.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
from av.video.reformatter import Interpolation

from worldmodel.datasets.video.reader import VideoReader
from worldmodel.files import media_url

Size = tuple[int, int]
Reader = Callable[[Path, list[range], Size], list[np.ndarray]]  # -> uint8 [F, H, W, 3] per span


def ours(path: Path, spans: list[range], size: Size) -> list[np.ndarray]:
    """`VideoReader.read_spans`, nothing known of the file before."""
    return [video_FCHW.permute(0, 2, 3, 1).numpy() for video_FCHW in VideoReader(path).read_spans(spans, size)]


def with_decord(path: Path, spans: list[range], size: Size) -> list[np.ndarray]:
    """decord as its users call it: scaled in its decoding, all frames in one sorted batch."""
    import decord

    reader = decord.VideoReader(str(path), ctx=decord.cpu(0), width=size[1], height=size[0], num_threads=1)
    numbers = sorted({number for span in spans for number in span})
    frames_FHWC = reader.get_batch(numbers).asnumpy()
    del reader  # it would go on decoding
    return [frames_FHWC[np.searchsorted(numbers, span)] for span in spans] if len(spans) > 1 else [frames_FHWC]


def with_opencv(path: Path, spans: list[range], size: Size) -> list[np.ndarray]:
    """`VideoCapture` set to the first frame of each span; area averaging."""
    import cv2

    cv2.setNumThreads(1)
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    videos = []
    for span in spans:
        capture.set(cv2.CAP_PROP_POS_FRAMES, span.start)
        video_FHWC = np.empty((len(span), *size, 3), np.uint8)
        for place in range(len(span)):
            small = cv2.resize(capture.read()[1], size[::-1], interpolation=cv2.INTER_AREA)
            video_FHWC[place] = small[..., ::-1]
        videos.append(video_FHWC)
    capture.release()
    return videos


def plain_pyav(path: Path, spans: list[range], size: Size) -> list[np.ndarray]:
    """Seek to the frame's time, decode on, every frame as full RGB, then OpenCV's area averaging."""
    import cv2

    cv2.setNumThreads(1)
    return [
        np.stack([cv2.resize(rgb, size[::-1], interpolation=cv2.INTER_AREA) for rgb in frames])
        for frames in _sought(path, spans, lambda frame: frame.to_ndarray(format="rgb24"))
    ]


def plain_pyav_reformat(path: Path, spans: list[range], size: Size) -> list[np.ndarray]:
    """The same, scaled by `frame.reformat` before it becomes an array."""
    reformatter = av.video.reformatter.VideoReformatter()

    def small(frame: av.VideoFrame) -> np.ndarray:
        scaled = reformatter.reformat(frame, size[1], size[0], "rgb24", interpolation=Interpolation.BILINEAR, threads=1)
        return scaled.to_ndarray()

    return [np.stack(list(video)) for video in _sought(path, spans, small)]


def _sought(
    path: Path, spans: list[range], convert: Callable[[av.VideoFrame], np.ndarray]
) -> Iterator[Iterator[np.ndarray]]:
    with av.open(media_url(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for span in spans:
            first = (stream.start_time or 0) + round(span.start / stream.average_rate / stream.time_base)
            container.seek(first, stream=stream)
            wanted = (frame for frame in container.decode(stream) if frame.pts >= first)
            yield (convert(frame) for frame, _ in zip(wanted, span, strict=False))


def available() -> dict[str, Reader]:
    """Readers whose packages are installed."""
    readers: dict[str, Reader] = {"`VideoReader.read_spans`": ours}
    if find_spec("decord"):
        readers["decord, scaled in decoding"] = with_decord
    if find_spec("cv2"):
        readers |= {"OpenCV VideoCapture, AREA": with_opencv, "plain PyAV, full RGB, AREA": plain_pyav}
    return readers | {"plain PyAV, `reformat`": plain_pyav_reformat}
