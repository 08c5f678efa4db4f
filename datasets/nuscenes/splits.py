"""Which scenes belong to which split: the official lists, or a version's own `splits.json`.

nuScenes publishes its splits as lists of scene names (`scene-0001` ...). They are written here as ranges of scene
numbers; a test compares them with the devkit's `create_splits_scenes`. A version that carries
`<root>/<version>/splits.json` (``{"train": ["name", ...], ...}``, the devkit's file for custom splits) uses that first.
"""

import json
from pathlib import Path

from worldmodel.errors import InputError

_RANGES = {
    "train": """1-2 4-11 19-34 41-76 120-135 138-139 149-152 154-155 157-168 170-185 187-188 190-196 199-200 202-204
    206-214
        218-220 222 224-264 283-306 315-318 321 323-324 328 347-386 388-403 405-408 410-459 461-465 467-469 471-472
        474-480 499-502 504-515 517-518 525-539 541-546 566 568 570-578 580 582-600 639-679 681 683-689 695-698
        700-701 703-719 726-728 730-731 733-741 744 746-747 749-752 757-765 767-769 786-787 789-792 803-806 808-813
        815-817 819-822 847-856 858 860-866 868-873 875-878 880 882-903 945 947 949 952-953 955-961 975-984 988-992
        994-1025 1044-1058 1074-1102 1104-1110""",
    "val": """3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 632-638 770-771 775
        777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073""",
    "test": """77-91 111-119 140 142-148 265-266 279-282 307-314 333-343 481-498 547-551 601-604 606-624 827-831 833-842
        844-846 932-933 935-943 1026-1043""",
    "mini_train": "61 553 655 757 796 1077 1094 1100",
    "mini_val": "103 916",
    "train_detect": """1-2 41-76 161-168 170-176 190-196 199-200 202-204 206-214 254-264 283-306 315-318 321 323-324
    347-375
        382 420-439 457-459 461-465 467-469 471-472 474-480 566 568 570-578 580 582-583 665-679 681 683-689 739-741 744
        746-747 749-752 757-765 767-769 868-873 875-878 880 882-903 945 947 949 952-953 955-961 975-984 988-991
        1011-1025 1074-1102 1104-1105""",
    "train_track": """4-11 19-34 120-135 138-139 149-152 154-155 157-160 177-185 187-188 218-220 222 224-253 328 376-381
        383-386 388-403 405-408 410-419 440-456 499-502 504-515 517-518 525-539 541-546 584-600 639-664 695-698 700-701
        703-719 726-728 730-731 733-738 786-787 789-792 803-806 808-813 815-817 819-822 847-856 858 860-866 992 994-1010
        1044-1058 1106-1110""",
}


def official_splits() -> dict[str, list[str]]:
    """The seven official splits: name -> scene names in ascending order (train 700, val 150, test 150, ...)."""
    return {name: _expand(ranges) for name, ranges in _RANGES.items()}


def _expand(ranges: str) -> list[str]:
    bounds = [[int(end) for end in part.split("-")] for part in ranges.split()]
    return [f"scene-{number:04d}" for ends in bounds for number in range(ends[0], ends[-1] + 1)]


def available_splits(root: str | Path, version: str) -> dict[str, list[str]]:
    """Splits that may be asked for in this version: the official ones, overridden by the version's own `splits.json`.

    Raises:
        InputError: `splits.json` is there but is not an object of lists of scene names.
    """
    path = Path(root) / version / "splits.json"
    if not path.is_file():
        return official_splits()
    try:
        own = json.loads(path.read_text())
    except ValueError as why:
        raise InputError(f"{path} is not valid JSON ({why}); restore it or remove it") from None
    if not isinstance(own, dict) or not all(_is_name_list(names) for names in own.values()):
        raise InputError(f'{path} must be an object of lists of scene names, such as {{"train": ["scene-0001"]}}')
    return official_splits() | own


def _is_name_list(names: object) -> bool:
    return isinstance(names, list) and all(isinstance(name, str) for name in names)


def scenes_of_split(root: str | Path, version: str, split: str) -> list[str]:
    """Scene names of `split`; raises InputError, listing the known splits, where there is none of that name."""
    splits = available_splits(root, version)
    if split not in splits:
        raise InputError(f"split {split!r} is unknown in {Path(root) / version}; use one of {', '.join(splits)}")
    return splits[split]
