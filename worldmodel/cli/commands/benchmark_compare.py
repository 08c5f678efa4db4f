"""`worldmodel benchmark compare`: two benchmarks side by side."""

from dataclasses import dataclass

from worldmodel.benchmarks.suites.compare import comparison
from worldmodel.benchmarks.suites.results import read_results
from worldmodel.settings import Settings, Text


@dataclass(frozen=True)
class CompareConfig(Settings):
    """Two results of `worldmodel benchmark`.

    Attributes:
        a: folder of one, or its results.json. b: the other.
    """

    a: Text
    b: Text


def compare(config: CompareConfig) -> None:
    """Print what differs."""
    print(comparison(read_results(config.a), read_results(config.b)))
