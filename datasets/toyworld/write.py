"""Draws the scenes and writes them as a nuScenes v1.0 dataset."""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import simplejpeg
from PIL import Image, ImageDraw
from tqdm import tqdm

from worldmodel.datasets.reading import dead_processes_named
from worldmodel.datasets.toyworld.firing import scene_firing
from worldmodel.datasets.toyworld.landscape import build_landscape
from worldmodel.datasets.toyworld.panda import load_panda, open_pipe
from worldmodel.datasets.toyworld.recipe import GENERATOR, ToyWorldConfig, data_hash, read_recipe
from worldmodel.datasets.toyworld.renderer import SceneRenderer
from worldmodel.datasets.toyworld.rig import RIG, pose_matrix
from worldmodel.datasets.toyworld.rows import Rows
from worldmodel.datasets.toyworld.scenes import scene_script
from worldmodel.datasets.toyworld.script import SceneScript
from worldmodel.datasets.toyworld.tables import TABLES, SceneTables, shared_rows
from worldmodel.errors import InputError

METRES_PER_MASK_PIXEL = 0.1  # the devkit's default map resolution


def make_toyworld(root: Path, config: ToyWorldConfig, progress: bool = True, overwrite: bool = False) -> Path:
    """Make the dataset at `root`, or reuse it if it was made by the same recipe.

    It is drawn under a temporary name beside `root` and renamed when complete, so what is at `root` is whole.
    `workers` processes draw one scene each at a time; the bytes do not depend on their number.

    Args:
        root: folder of the dataset, made here.
        config: the recipe.
        progress: show a progress bar.
        overwrite: draw anew, replacing a toy world of this or another recipe. Nothing but a toy world is replaced.

    Returns:
        `root`.

    Raises:
        InputError: something else is at `root`, or panda3d or its system library is missing.
    """
    root = Path(root)
    if _occupied(root):
        recipe = read_recipe(root)
        if recipe is None:
            raise InputError(f"{root} is not empty and no toy world: choose another root")
        if not overwrite and recipe == config.recipe():
            return root
        if not overwrite:
            why = "of another recipe" if recipe.get("generator") == GENERATOR else "by another version of this package"
            raise InputError(f"{root} holds a toy world {why}: choose another root or add overwrite=true")
    open_pipe(load_panda())
    part = root.resolve().with_name(root.resolve().name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _write_all(part, config, progress)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if root.exists():
        shutil.rmtree(root)
    part.rename(root)
    return root


def _occupied(root: Path) -> bool:
    return root.exists() and (not root.is_dir() or any(root.iterdir()))


def _write_all(part: Path, config: ToyWorldConfig, progress: bool) -> None:
    rows = _draw_all(part, config, progress)
    _write_tables(part / config.version, rows, config)
    card = {"recipe": config.recipe(), "data_sha256": data_hash(part)}
    (part / "toyworld.json").write_text(json.dumps(card, indent=1) + "\n")


def _draw_all(part: Path, config: ToyWorldConfig, progress: bool) -> Rows:
    for camera in RIG:
        for folder in ("samples", "sweeps"):
            (part / folder / camera.channel).mkdir(parents=True)
    (part / "maps").mkdir()
    jobs = [(part, config, number) for number in range(len(config.scenes()))]
    rows: Rows = {name: [] for name in TABLES} | shared_rows()
    with _workers(min(config.workers, len(jobs))) as run:
        scenes = tqdm(run(draw_scene, *zip(*jobs, strict=True)), "draw scenes", len(jobs), disable=not progress)
        for scene_rows in scenes:
            for name, added in scene_rows.items():
                rows[name] += added
    return rows


@contextmanager
def _workers(count: int) -> Iterator[Callable[..., Iterable[Rows]]]:
    """`map` in this process, or in spawned ones: panda3d keeps state of its own that a fork would share."""
    if count == 1:
        yield map
        return
    spawned = get_context("spawn")
    with dead_processes_named("workers=1", "drawing"), ProcessPoolExecutor(count, mp_context=spawned) as pool:
        yield pool.map


def draw_scene(part: Path, config: ToyWorldConfig, number: int) -> Rows:
    """Draw and write the pictures of one scene; return its table rows."""
    split, index, name = config.scenes()[number]
    script = scene_script(config.seed, split, index, name, config.seconds + 0.5)
    script.seconds = config.seconds
    firing = scene_firing(config.seed, split, index, config.seconds)
    tables = SceneTables(script, firing, config.seed, number, config.size)
    renderer = SceneRenderer(build_landscape(script), script.vehicles, config.size)
    for place, camera in enumerate(RIG):
        for turn in firing.turns(place):
            now = tables.script_s(tables.time_us(turn, camera))
            pose = pose_matrix(*script.ego.at(now)) @ camera.extrinsic()
            picture = renderer.draw(camera.intrinsic(config.size), pose, now)
            encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=config.jpeg_quality)
            (part / tables.filename(turn, camera)).write_bytes(encoded)
    renderer.close()
    rows = tables.rows()
    _draw_map(part / rows["map"][0]["filename"], script)
    return rows


def _draw_map(path: Path, script: SceneScript) -> None:
    """Roads and pavements as a mask, 255 inside, its lower left pixel at the origin."""
    points = np.concatenate([road.line.xy_M2 for road in script.roads])
    width, height = (int(side) for side in np.ceil((points.max(axis=0) + 20) / METRES_PER_MASK_PIXEL))
    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    for road in script.roads:
        edge = road.half_width + road.pavement
        sides = [np.column_stack(road.line.pose(road.line.s_M, left)[:2]) for left in (edge, -edge)]
        outline = np.concatenate([sides[0], sides[1][::-1]]) / METRES_PER_MASK_PIXEL
        pen.polygon([(float(x), height - 1 - float(y)) for x, y in outline], fill=255)
    mask.save(path, optimize=False)


def _write_tables(folder: Path, rows: Rows, config: ToyWorldConfig) -> None:
    folder.mkdir(parents=True)
    for name in TABLES:
        (folder / f"{name}.json").write_text(json.dumps(rows[name], indent=0))
    splits: dict[str, list[str]] = {"train": [], "val": []}
    for split, _, name in config.scenes():
        splits[split].append(name)
    (folder / "splits.json").write_text(json.dumps(splits, indent=1))
