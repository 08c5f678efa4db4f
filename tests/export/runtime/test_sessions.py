"""Products of 8 bits are exact on this processor, whichever it is; what cannot be made exact is refused."""

import platform
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import small_artifact as small

from worldmodel.errors import InputError
from worldmodel.export.runtime import sessions
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Precision
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.sessions import open_session, products_saturate, saturates_here, session_options


@pytest.fixture
def int8(tmp_path: Path) -> Path:
    """An artifact that says of its step that it is in 8 bits."""
    manifest = small.write_artifact(tmp_path / "artifact")
    replace(manifest, precision=Precision("fp32", "int8", "fp32")).write(tmp_path / "artifact")
    return tmp_path / "artifact"


def test_the_graph_that_asks_the_processor_is_a_sound_one() -> None:
    graph = onnx.load_from_string(sessions.PRODUCT)
    onnx.checker.check_model(graph, full_check=True)
    assert [node.op_type for node in graph.graph.node] == ["MatMulInteger"]


def test_the_runtime_in_cpp_asks_by_the_same_graph(repository: Path) -> None:
    text = (repository / "export" / "runtime" / "cpp" / "src" / "sessions.cpp").read_text()
    literal = text.partition("constexpr char PRODUCT[] =")[2].partition(";")[0]
    pieces = [line.strip()[1:-1] for line in literal.splitlines() if line.strip()]
    assert b"".join(piece.encode().decode("unicode_escape").encode("latin-1") for piece in pieces) == sessions.PRODUCT


@pytest.mark.parametrize("rows", [1, 3, 64])
@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_every_product_is_the_integers(kind: type, rows: int) -> None:
    """With the largest numbers, of vectors and of matrices."""
    numbers = np.random.default_rng(rows)
    ends = np.iinfo(kind)
    a = numbers.choice(np.array([ends.min, ends.max, ends.max - 1], kind), (rows, 70))
    b = numbers.choice(np.array([-127, 126, 127], np.int8), (70, 33))
    proto = {np.uint8: "uint8", np.int8: "int8"}[kind]
    text = f"""
    <ir_version: 8, opset_import: ["" : 20]>
    product ({proto}[{rows},70] a) => (int32[{rows},33] c) {{ c = MatMulInteger(a, b) }}
    """
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(onnx.numpy_helper.from_array(b, "b"))
    (found,) = open_session(model.SerializeToString(), session_options(1)).run(None, {"a": a})
    assert np.array_equal(found, a.astype(np.int64) @ b.astype(np.int64))


def test_the_processor_is_asked_once_and_in_no_time() -> None:
    saturates_here.cache_clear()
    begun = time.process_time()
    found = saturates_here()
    assert time.process_time() - begun < 0.5 and saturates_here() is found
    assert found is False or platform.machine().lower() in ("x86_64", "amd64")


def test_only_a_processor_that_saturates_gets_the_slower_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = "session.x64quantprecision"
    for saturates in (False, True):
        monkeypatch.setattr(sessions, "saturates_here", lambda saturates=saturates: saturates)
        options = session_options()
        if saturates:
            assert options.get_session_config_entry(entry) == "1"
        else:
            with pytest.raises(RuntimeError, match=entry):
                options.get_session_config_entry(entry)


def test_an_artifact_that_this_processor_computes_wrongly_is_refused(
    int8: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry is switched off: as with an ONNX Runtime that does not know it."""
    if not products_saturate(sessions._quiet(threads=1)):
        pytest.skip("8-bit products of this processor are exact without the entry (VNNI, or no x86-64)")
    Predictor.open(int8, threads=1).close()
    monkeypatch.setattr(sessions, "saturates_here", lambda: False)
    with pytest.raises(InputError, match="adds products of 8 bits wrongly on this processor .* precision=fp16"):
        Predictor.open(int8, threads=1)


def test_wrong_products_matter_to_an_int8_step_alone(int8: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "products_saturate", lambda options: True)
    with pytest.raises(InputError, match="precision=int8: ONNX Runtime .* wrongly on this processor"):
        Predictor.open(int8, threads=1)
    replace(Manifest.read(int8), precision=Precision("fp32", "fp32", "fp32")).write(int8)
    Predictor.open(int8, threads=1).close()


def test_no_other_place_opens_a_session(repository: Path) -> None:
    rooms = (
        path
        for room in ("worldmodel", "datasets", "benchmarks", "export")
        for path in (repository / room).rglob("*.py")
    )
    assert {path.name for path in rooms if "InferenceSession(" in path.read_text()} == {"sessions.py"}
