"""Measure, print a table for people and JSON for programs."""

import argparse

import torch

from worldmodel.benchmarks.studies import training_throughput
from worldmodel.benchmarks.studies.results import publish
from worldmodel.benchmarks.studies.training_throughput.networks import SIZES, build
from worldmodel.benchmarks.studies.training_throughput.report import skipped, text_of
from worldmodel.benchmarks.studies.training_throughput.rows import measure
from worldmodel.benchmarks.studies.training_throughput.timing import MOST
from worldmodel.measure import machine
from worldmodel.measure.machine import device_name
from worldmodel.training.attention import fastest_attention
from worldmodel.training.estimate import check_compiler


def compare(chosen: argparse.Namespace) -> None:
    """Measure, print the table and the JSON line."""
    about, device = machine.describe(("torch", "diffusers")), torch.device(chosen.device)
    if chosen.compile:
        check_compiler()
    backbone = build(chosen.size, device)
    most = chosen.most or MOST[device.type]
    with fastest_attention(device):
        figures = measure(backbone, SIZES[chosen.size][1], device, chosen.seconds, chosen.compile, most)
    figures["skipped"] = skipped(device, chosen.compile)
    result = {"benchmark": "training_throughput", "size": chosen.size, "device": device_name(device), **figures}
    text = text_of(figures, chosen.size, result["device"])
    publish("training_throughput", text, result | {"machine": about}, chosen.keep)


def main() -> None:
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=training_throughput.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="2b" if cuda else "tiny")
    parser.add_argument("--seconds", type=float, default=20.0, help="of measuring, for each row")
    parser.add_argument("--most", type=int, help="largest batch to try")
    parser.add_argument("--device", default="cuda" if cuda else "cpu")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave compiled blocks out")
    parser.add_argument("--keep", action="store_true", help="write the table and JSON to benchmarks/results by date")
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
