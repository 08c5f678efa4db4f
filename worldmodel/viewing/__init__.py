"""Looking at rollouts: Rerun recordings, contact sheets, videos. Rerun itself is imported only when one is written."""

from worldmodel.measure.frame_scores import psnr_per_frame
from worldmodel.viewing.recording import estimate_bytes, write_recording
from worldmodel.viewing.rollout import Rollout
from worldmodel.viewing.screenshot import write_screenshot
from worldmodel.viewing.sheet import contact_sheet
from worldmodel.viewing.video import write_frames, write_video

__all__ = [
    "Rollout",
    "contact_sheet",
    "estimate_bytes",
    "psnr_per_frame",
    "write_video",
    "write_frames",
    "write_recording",
    "write_screenshot",
]
