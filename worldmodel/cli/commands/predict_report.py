"""What a prediction prints: for people a page, for programs its last line."""

from typing import Any

from worldmodel.measure.report import scores_table
from worldmodel.models.checkpoint import random_weights


def report(result: dict[str, Any]) -> str:
    """What a person reads: what was predicted, the scores, the cost, where it is."""
    cameras, evaluations, seconds = tuple(result["cameras"]), result["evaluations"], result["seconds"]
    height, width = result["size"]
    lines = [
        f"{result['scene']}: {result['predicted_frames']} frames of {_counted(len(cameras), 'camera')} predicted from"
        f" {result['observed_frames']} at {result['frame_rate']:g}/s, {height}x{width},"
        f" checkpoint {result['checkpoint']} ({origin(result['checkpoint'], result['checkpoint_sha256'])}),"
        f" conventions {result['conventions']}"
    ]
    lines += result["notes"]
    if repeated := {camera: count for camera, count in result["repeated_frames"].items() if count}:
        lines.append(f"the footage is slower: frames that repeat the one before: {_listed(repeated)}")
    if result["scores"]:
        lines += ["", f"mean of {result['truth_frames']} future frames", scores_table(result["scores"], cameras)]
        if result["truth_frames"] > result["observed_frames"]:
            first = scores_table(result["scores_first_chunk"], ())
            lines += ["", f"first {result['observed_frames']} future frames", first]
    else:
        lines.append("no frames after the observed ones: nothing to score against")
    lines += [
        "",
        f"NFE {evaluations['guided_evals']} ({result['steps']} per chunk), {evaluations['forward_calls']} network calls"
        f" of batch {evaluations['forward_batch']}; {result['device']}",
        f"seconds: {_listed(seconds)}; peak memory: {_listed(result['peak_memory_mb'])} MB",
        f"{result['out']}: {', '.join(result['files'].values())}, prediction.json",
    ]
    return "\n".join(lines)


def origin(checkpoint: str, sha256: str | None) -> str:
    """Where the weights are from: the first digits of their files' sha256, where there are files on this machine."""
    if sha256 is not None:
        return sha256[:12]
    return "of the hub" if random_weights(checkpoint) is None else "drawn anew"


def headline(result: dict[str, Any]) -> dict[str, Any]:
    """The one line for programs: means, cost, place."""
    keys = (
        "scene",
        "out",
        "predicted_frames",
        "truth_frames",
        "steps",
        "checkpoint_sha256",
        "conventions",
        "seconds",
        "peak_memory_mb",
    )
    return {key: result[key] for key in keys} | {
        "cameras": len(result["cameras"]),
        "nfe": result["evaluations"]["guided_evals"],
        "mean": {method: score["mean"] for method, score in result["scores"].items()},
        "mean_first_chunk": {method: score["mean"] for method, score in result["scores_first_chunk"].items()},
    }


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _listed(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())
