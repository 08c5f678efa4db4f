"""Plans between chunks whose best plan is known."""

import json
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from worldmodel.benchmarks.studies import transport_plan
from worldmodel.benchmarks.studies.chunk_plans import chance, masked, masks, owners, plans, shares
from worldmodel.benchmarks.studies.transport_plan import drawn, longest_run
from worldmodel.errors import InputError
from worldmodel.flow.couplings import squared_distances

pytest.importorskip("ot", reason="POT is not installed")


def drives(counts: list[int]) -> torch.Tensor:
    """Latents of videos that all lie equally far apart, each moving one unit a chunk: [N, videos + 1]."""
    places = [chunk for count in counts for chunk in range(count)]
    return torch.cat([100.0 * torch.eye(len(counts))[owners(counts)], torch.tensor(places)[:, None]], dim=1)


def by_mask(latents: torch.Tensor, counts: list[int]) -> dict[str, dict]:
    return {plan["mask"][:3]: plan for plan in plans(latents, owners(counts))}


@pytest.fixture(autouse=True)
def few_shuffles(monkeypatch):
    monkeypatch.setattr(transport_plan, "SHUFFLES", 20)


def test_masks_say_who_may_go_where():
    first, second, third = (mask.int().tolist() for mask in masks(owners([2, 1])).values())
    assert first == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert second == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert third == [[0, 1, 1], [0, 0, 1], [1, 1, 0]]


def test_a_match_that_is_not_permitted_costs_more_than_any_plan():
    cost = squared_distances(drives([2, 2]), drives([2, 2]))
    permitted = masks(owners([2, 2]))["(a) any but itself"]
    fined = masked(cost, permitted)
    assert fined[~permitted].min() > cost.max() * len(cost)
    assert torch.equal(fined[permitted], cost[permitted])


def test_shares_of_a_known_plan():
    plan = torch.zeros(5, 5, dtype=torch.float64)
    for source, target in ((0, 1), (1, 0), (2, 3), (3, 4), (4, 2)):  # videos: chunks 0 to 2, chunks 3 and 4
        plan[source, target] = 0.2
    video = owners([3, 2])
    found = shares(plan, video, masks(video)["(b) later, own video"])
    assert found == pytest.approx({"next": 0.4, "previous": 0.2, "same_video": 0.6, "not_permitted": 0.6})


def test_videos_of_two_chunks_swap_them():
    plan = by_mask(drives([2, 2, 2]), [2, 2, 2])["(a)"]
    assert plan["target_of_source"] == [1, 0, 3, 2, 5, 4]
    assert (plan["next"], plan["previous"], plan["same_video"]) == (0.5, 0.5, 1)


def test_chunks_in_a_row_go_to_the_next_one_where_the_way_back_is_barred():
    counts = [4, 3, 5]
    plan = by_mask(drives(counts), counts)["(c)"]
    assert plan["next"] == pytest.approx(9 / 12)
    assert plan["not_permitted"] == 0
    assert plan["next_by_chance"] < 0.3


def test_the_second_mask_forces_the_next_chunk_whatever_the_latents():
    counts = [4, 3, 5]
    noise = torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    plan = by_mask(noise, counts)["(b)"]
    assert plan["next"] == plan["next_by_chance"] == pytest.approx(9 / 12)
    assert plan["not_permitted"] == pytest.approx(3 / 12)


def test_chance_is_that_of_a_random_target():
    video = owners([5] * 4)
    latents = torch.randn(20, 8, generator=torch.Generator().manual_seed(0))
    permitted = masks(video)["(a) any but itself"]
    assert chance(squared_distances(latents, latents), video, permitted) == pytest.approx(16 / 20 / 19, abs=0.03)


def test_the_longest_run_of_chunks_ends_where_frames_are_missing():
    pairs = [np.arange(start, start + 4) for start in (0, 2, 4, 9, 11, 13, 15)]
    assert [chunk.tolist() for chunk in longest_run(pairs, 2)] == [[9, 10], [11, 12], [13, 14], [15, 16], [17, 18]]


def test_videos_that_are_too_short_are_not_drawn():
    chunk = torch.zeros(3, 1, 3, 2, 2, dtype=torch.uint8)
    names = [str(number) for number in range(12)]
    found = drawn(names, lambda name: None if int(name) % 2 else chunk, 5, seed=0)
    assert len(found) == 5 and all(int(name) % 2 == 0 for name in found)
    with pytest.raises(InputError, match="6 of 12 videos have 3 chunks, 7 are needed"):
        drawn(names, lambda name: None if int(name) % 2 else chunk, 7, seed=0)


def write_video(path: Path, seed: int, frames: int) -> None:
    """A coloured texture that slides by."""
    texture = np.random.default_rng(seed).integers(0, 256, (4, 12, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=12)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for number in range(frames):
            shown = np.ascontiguousarray(texture[:, number : number + 96])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, "rgb24")))
        container.mux(stream.encode())


def test_a_folder_of_videos_becomes_a_table_a_picture_and_json(tmp_path, monkeypatch, capsys):
    (tmp_path / "films").mkdir()
    for seed in range(3):
        write_video(tmp_path / "films" / f"{seed}.mp4", seed, 27 if seed else 8)
    picture = tmp_path / "plan.png"
    asked = ["--videos", tmp_path / "films", "--frames", "9", "--number", "2", "--picture", picture]
    monkeypatch.setattr(sys, "argv", ["transport_plan", *map(str, asked)])
    transport_plan.main()
    lines = capsys.readouterr().out.splitlines()
    result = json.loads(lines[-1])
    assert result["sets"][0]["chunks"] == {"films/1.mp4": 3, "films/2.mp4": 3}
    assert [plan["mask"][:3] for plan in result["sets"][0]["plans"]] == ["(a)", "(b)", "(c)"]
    assert result["sets"][0]["plans"][1]["next"] == pytest.approx(4 / 6, abs=1e-4)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sum(line.startswith("| films |") for line in lines) == 3
