"""Studies are run from a checkout; neither the wheel nor the sdist holds them."""

from importlib.util import find_spec

if find_spec("worldmodel.benchmarks.studies") is None:
    collect_ignore_glob = ["test_*.py"]
