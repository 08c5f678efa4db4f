"""Which engines fit a machine, and the memory that they share. TensorRT itself is not needed for either."""

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import small_artifact as small

from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import engine_files, tensorrt
from worldmodel.export.runtime.backends.engine_files import Build, Machine, arena_bytes, plans_for, source_sha256
from worldmodel.files import file_sha256

ORIN = Machine("Orin", "8.7", "10.3.0")
PARTS = ("encoder", "step", "decoder")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    small.write_artifact(tmp_path / "artifact")
    return Artifact.open(tmp_path / "artifact")


def write_engines(artifact: Artifact, machine: Machine = ORIN, **changes: dict[str, str]) -> Path:
    folder = artifact.folder / "engines" / f"sm{machine.compute_capability.replace('.', '')}-trt{machine.tensorrt}"
    folder.mkdir(parents=True)
    for part in PARTS:
        (folder / f"{part}.plan").write_bytes(part.encode() * 100)
    build = Build(
        machine.gpu,
        machine.compute_capability,
        machine.tensorrt,
        files={f"{part}.plan": file_sha256(folder / f"{part}.plan") for part in PARTS},
        sources={part: source_sha256(artifact, part) for part in PARTS},
        seconds={part: 1.0 for part in PARTS},
    )
    replace(build, **changes).write(folder / "build.json")
    return folder


def test_the_engines_of_this_machine_are_found_among_others(artifact: Artifact) -> None:
    write_engines(artifact, replace(ORIN, tensorrt="10.13.0"))
    folder = write_engines(artifact)
    assert plans_for(artifact, ORIN, PARTS) == {part: folder / f"{part}.plan" for part in PARTS}


@pytest.mark.parametrize(
    "machine",
    [Machine("Thor", "11.0", "10.3.0"), replace(ORIN, tensorrt="10.3.1"), replace(ORIN, gpu="Orin Nano")],
    ids=str,
)
def test_engines_of_another_machine_are_refused(artifact: Artifact, machine: Machine) -> None:
    write_engines(artifact)
    with pytest.raises(InputError) as caught:
        plans_for(artifact, machine, PARTS)
    said = str(caught.value)
    assert f"its engines are for {ORIN}, this is {machine}; run `worldmodel export build` on this machine" in said


def test_no_engines_at_all(artifact: Artifact) -> None:
    with pytest.raises(InputError, match="holds no TensorRT engines; run `worldmodel export build`"):
        plans_for(artifact, ORIN, PARTS)


def test_engines_of_an_artifact_exported_again_are_stale(artifact: Artifact) -> None:
    """The step's graph stays the same when its weights, which lie beside it, are trained further."""
    write_engines(artifact)
    manifest = artifact.manifest
    trained = replace(artifact, manifest=replace(manifest, files={**manifest.files, "step.onnx.data": "cd" * 32}))
    with pytest.raises(InputError, match="step.plan: built from another step than this artifact's; run `worldmodel"):
        plans_for(trained, ORIN, PARTS)


def test_harmed_and_missing_plans_are_refused(artifact: Artifact) -> None:
    folder = write_engines(artifact)
    (folder / "step.plan").write_bytes(b"other")
    with pytest.raises(InputError, match="step.plan: altered or incomplete"):
        plans_for(artifact, ORIN, PARTS)
    (folder / "step.plan").unlink()
    with pytest.raises(InputError, match="step.plan: missing; run `worldmodel export build` on this machine"):
        plans_for(artifact, ORIN, PARTS)
    with pytest.raises(InputError, match="holds no engine of the decoder_next"):
        plans_for(artifact, ORIN, ("decoder_next",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable as JSON"),
        ('{"gpu": "Orin"}', "key 'compute_capability' is missing"),
        ("[]", "not an object"),
    ],
)
def test_a_build_file_that_cannot_be_read(artifact: Artifact, text: str, said: str) -> None:
    (write_engines(artifact) / "build.json").write_text(text)
    with pytest.raises(InputError, match=f"build.json: .*{said}.*; run `worldmodel export build` on this machine"):
        plans_for(artifact, ORIN, PARTS)


def test_the_arena_holds_the_largest_engine() -> None:
    assert [arena_bytes(sizes) for sizes in ([], [0], [1], [256], [3, 257, 5])] == [0, 0, 256, 256, 512]


def test_without_tensorrt_the_verb_says_so(artifact: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    if tensorrt_is_here():
        pytest.skip("TensorRT is installed")
    words = ["export", "run", str(artifact.folder), "a.mp4", "b.mp4", "out.npy", "backend=tensorrt"]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: backend=tensorrt: no Python module tensorrt") and said.count("\n") == 1


def tensorrt_is_here() -> bool:
    from importlib.util import find_spec

    return find_spec("tensorrt") is not None


def test_every_name_of_tensorrt_that_is_used_exists() -> None:
    """In TensorRT-RTX, whose bindings are TensorRT 11's less what that does not have."""
    trt = pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX (extra trt-check) is not installed")
    owners = {"_context": trt.IExecutionContext, "_engine": trt.ICudaEngine, "engine": trt.ICudaEngine, "trt": trt}
    owners |= {"runtime": trt.Runtime, "_trt": trt}
    used = [
        (node.value.attr if isinstance(node.value, ast.Attribute) else node.value.id, node.attr)
        for node in ast.walk(ast.parse(inspect.getsource(tensorrt)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, (ast.Name, ast.Attribute))
    ]
    asked = [(owner, name) for owner, name in used if owner in owners]
    assert len(asked) > 15 and ("_context", "execute_async_v3") in asked
    assert [f"{owner}.{name}" for owner, name in asked if not hasattr(owners[owner], name)] == []
    assert engine_files.ALIGNED == 256
