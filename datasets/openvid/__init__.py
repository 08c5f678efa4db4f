"""OpenVid and other collections of videos with captions: lists, archives, chunk pairs within one shot.

entries = read_list("OpenVid-1M.csv")                       # streamed; also JSONL, videos.txt, or a folder
files = VideoFiles(["/data/openvid/video"], archives=["/data/openvid/zips"], extract_to="/data/openvid/video")
videos = open_collection(entries, files, shortest=34)
pairs = videos.pairs(17, 17, size=(256, 384))               # a torch Dataset of PixelPairs
print(pairs.report)
"""

from worldmodel.datasets.openvid.files import VideoFiles
from worldmodel.datasets.openvid.listing import VideoEntry, read_list
from worldmodel.datasets.openvid.pairs import Collection, VideoPairs, VideoReport, open_collection

__all__ = [
    "Collection",
    "VideoReport",
    "VideoEntry",
    "VideoFiles",
    "VideoPairs",
    "open_collection",
    "read_list",
]
