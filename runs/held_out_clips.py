"""Write the clip list of the held-out videos: openvid-val's rule on a list of one's own, taken out of the zips first.

    python runs/held_out_clips.py VAL.csv ZIPS VIDEOS OUT.json

Videos that neither the folder VIDEOS nor the archives in ZIPS hold are left out and counted. OUT.json is the clip list,
with its header beside it; `worldmodel benchmark clips=OUT.json root=VIDEOS` takes it.
"""

import csv
import sys
from pathlib import Path

from worldmodel.benchmarks.clips import ClipsConfig, clip_list, write_clip_list
from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.datasets.openvid import VideoFiles, read_list
from worldmodel.errors import UserError
from worldmodel.files import written_whole


def held_out_clips(listed: Path, archives: Path, videos: Path, out: Path) -> ClipList:
    """The list; raises `InputError` where no video of `listed` is there or long enough."""
    videos.mkdir(parents=True, exist_ok=True)
    files, entries = VideoFiles([videos], [archives], videos), list(read_list(listed))
    found = [entry for entry in entries if files.find(entry.video) is not None]
    here = out.with_suffix(".csv")
    with written_whole(here) as part, part.open("w", newline="", encoding="utf-8") as opened:
        rows = csv.writer(opened)
        rows.writerow(("video", "caption", "frame"))
        rows.writerows((entry.video, entry.caption, entry.facts.get("frame", "")) for entry in found)
    chosen = clip_list(ClipsConfig(list="openvid-val", csv=str(here), root=str(videos)))
    write_clip_list(chosen, out)
    print(f"{out}: {len(chosen)} clips of {len(entries)} held-out videos, {len(entries) - len(found)} are not there")
    return chosen


if __name__ == "__main__":
    try:
        held_out_clips(*map(Path, sys.argv[1:5]))
    except UserError as error:
        sys.exit(f"error: {error}")
