"""OpenVid and other collections of videos with captions: lists, archives, chunk pairs within one shot.

entries = read_list("OpenVid-1M.csv")                       # streamed; also JSONL, videos.txt, or a folder
files = VideoFiles(["/data/openvid/video"], archives=["/data/openvid/zips"], extract_to="/data/openvid/video")
pairs = video_pairs(entries, files, size=(256, 384))        # a torch Dataset of NuScenesPairs
print(pairs.report)
"""

from worldmodel.datasets.openvid.files import VideoFiles
from worldmodel.datasets.openvid.listing import VideoEntry, read_list
from worldmodel.datasets.openvid.pairs import Collection, VideoPairs, VideoReport, open_collection, video_pairs

__all__ = [
    "Collection",
    "VideoReport",
    "VideoEntry",
    "VideoFiles",
    "VideoPairs",
    "open_collection",
    "read_list",
    "video_pairs",
]
