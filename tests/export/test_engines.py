"""What building on the vehicle decides without TensorRT, and what it says where that is missing."""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
import small_artifact as small

from worldmodel.cli.commands.export_build import BuildConfig, build
from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.engine_process import BuildRequest, build_apart, machine_apart, request_of
from worldmodel.export.engines import chosen_parts, engine_folder, is_current, profile, with_part
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends.engine_files import Build, Machine, plans_for
from worldmodel.export.runtime.manifest_fields import Port

ORIN = Machine("Orin", "8.7", "10.3.0")
PARTS = ("encoder", "step", "decoder")
without_tensorrt = pytest.mark.skipif(find_spec("tensorrt") is not None, reason="tensorrt is installed here")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    small.write_artifact(tmp_path / "artifact")
    return Artifact.open(tmp_path / "artifact")


def finished(artifact: Artifact, machine: Machine = ORIN) -> tuple[Path, Build]:
    """Plans of all parts as `build` leaves them."""
    folder, done = engine_folder(artifact.folder, machine)
    folder.mkdir(parents=True)
    for part in PARTS:
        (folder / f"{part}.plan").write_bytes(f"{part} for {machine}".encode())
        done = with_part(done, artifact, part, folder / f"{part}.plan", 1.5)
        done.write(folder / "build.json")
    return folder, done


def test_what_is_built_is_what_the_runtime_finds(artifact: Artifact) -> None:
    folder, done = finished(artifact)
    assert folder == artifact.folder / "engines" / "sm87-trt10.3.0"
    assert plans_for(artifact, ORIN, PARTS) == {part: folder / f"{part}.plan" for part in PARTS}
    assert engine_folder(artifact.folder, ORIN) == (folder, done) and done.seconds["step"] == 1.5


def test_finished_parts_are_kept_until_their_source_changes(artifact: Artifact) -> None:
    folder, done = finished(artifact)
    assert all(is_current(artifact, folder, done, part) for part in PARTS)
    (folder / "decoder.plan").write_bytes(b"harmed")
    assert not is_current(artifact, folder, done, "decoder")
    again = artifact.manifest.files | {"step.onnx.data": "cd" * 32}
    trained = Artifact(artifact.folder, replace(artifact.manifest, files=again))
    assert not is_current(trained, folder, done, "step") and is_current(trained, folder, done, "encoder")
    (folder / "encoder.plan").unlink()
    assert not is_current(artifact, folder, done, "encoder")


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (replace(ORIN, tensorrt="10.16.2"), "sm87-trt10.16.2"),
        (replace(ORIN, gpu="NVIDIA Thor", compute_capability="11.0"), "sm110-trt10.3.0"),
        (replace(ORIN, gpu="Orin NX (16GB)"), "sm87-trt10.3.0-orin-nx-16gb"),
    ],
    ids=str,
)
def test_another_machine_gets_a_folder_of_its_own(artifact: Artifact, other: Machine, name: str) -> None:
    own, _ = finished(artifact)
    folder, done = engine_folder(artifact.folder, other)
    assert folder == artifact.folder / "engines" / name and folder != own
    assert done == Build(other.gpu, other.compute_capability, other.tensorrt, {}, {}, {})


def test_a_third_name_is_not_built_over_the_second(artifact: Artifact) -> None:
    finished(artifact)
    finished(artifact, replace(ORIN, gpu="Orin NX"))
    with pytest.raises(InputError, match="holds engines for Orin NX .*; remove that folder"):
        engine_folder(artifact.folder, replace(ORIN, gpu="Orin-NX"))


def test_free_axes_get_the_artifacts_own_size(artifact: Artifact) -> None:
    assert profile(artifact.manifest, "step") == {}
    manifest = artifact.manifest
    free = {
        "encoder": ("video", "uint8", ("B", "F", "H", "W", 3)),
        "step": ("latents", "float32", ("B", small.c, "f", "h", "w")),
    }
    parts = {
        name: replace(part, inputs=(Port(*free[name]), *part.inputs[1:])) if name in free else part
        for name, part in manifest.parts.items()
    }
    dynamic = replace(manifest, dynamic=True, parts=parts)
    video, latents = (small.F, small.H, small.W, 3), (small.c, small.f, small.h, small.w)
    assert profile(dynamic, "encoder") == {"video": ((1, *video), (small.B, *video), (small.B, *video))}
    assert profile(dynamic, "step") == {"latents": ((1, *latents), (small.B, *latents), (small.B, *latents))}


def test_parts_are_chosen_by_name(artifact: Artifact) -> None:
    assert chosen_parts(artifact, ("step",), PARTS) == ("step",)
    assert chosen_parts(artifact, (), PARTS) == PARTS
    with pytest.raises(InputError, match=r"parts=\[vae\]: choose of encoder, step, decoder"):
        chosen_parts(artifact, ("vae",), PARTS)


@without_tensorrt
def test_without_tensorrt_the_verb_says_where_it_comes_from(
    artifact: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "build", str(artifact.folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: export build: no Python module tensorrt here") and said.count("\n") == 1
    assert "JetPack brings it (apt install python3-libnvinfer)" in said
    assert not (artifact.folder / "engines").exists()


@pytest.mark.parametrize("words", [["workspace_gb=0"], ["level=6"], ["parts=[vae]"], ["levle=3"]])
def test_wrong_words_end_before_anything_is_asked(
    artifact: Artifact, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "build", str(artifact.folder), *words]) == 2
    assert words[0].split("=")[0] in capsys.readouterr().err


def test_altered_graphs_are_not_built(artifact: Artifact) -> None:
    (artifact.folder / "decoder.onnx").write_bytes(b"not the graph")
    with pytest.raises(InputError, match="decoder.onnx: altered or incomplete"):
        build(BuildConfig(str(artifact.folder)))


def test_neither_torch_nor_hydra_is_imported(artifact: Artifact) -> None:
    code = (
        "import sys; from worldmodel.cli.main import main; import worldmodel.export.engine_process;"
        f"main(['export', 'build', {str(artifact.folder)!r}]);"
        "print(*{'torch', 'hydra', 'omegaconf', 'diffusers', 'onnx', 'onnx_ir'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_a_missing_builder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"step.onnx: no Python module no_such_builder here"):
        build_apart(BuildRequest("no_such_builder", str(tmp_path / "step.onnx"), str(tmp_path / "step.plan")))


def test_a_builder_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "crashing_builder.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(InputError, match=r"export build: the builder crashed \(SIGSEGV\)"):
        machine_apart("crashing_builder")


def test_orders_survive_json() -> None:
    request = BuildRequest("tensorrt", "a.onnx", "a.plan", workspace_bytes=7, shapes={"x": ((1, 2), (3, 2), (3, 2))})
    assert request_of(json.loads(json.dumps(asdict(request)))) == request
