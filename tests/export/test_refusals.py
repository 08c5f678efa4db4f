"""Whatever harms an artifact or does not fit it: one line that names it and what to do, status 2, and nothing is run.

The verbs that judge, build, time and count are here, and `export run` with engines. `export run` on harmed files is in
`runtime/test_artifact.py`, with another prompt or videos that do not fit in `runtime/test_run.py`; frames of another
dtype, which only Python callers can give, are in `runtime/test_artifact.py`.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import small_artifact as small

from worldmodel.cli.main import main
from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.backends import tensorrt
from worldmodel.export.runtime.backends.engine_files import Build, Machine, source_sha256
from worldmodel.export.runtime.manifest import Manifest, sealed
from worldmodel.export.runtime.manifest_fields import Precision, PrecisionName
from worldmodel.files import file_sha256

Harm = Callable[[Path], object]
ORIN = Machine("Orin", "8.7", "10.3.0")
EXPORT_AGAIN, BUILD_HERE = "export the artifact again", "run `worldmodel export build` on this machine"
THE_FOLDER = "give the folder that `worldmodel export` wrote"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact with engines for ORIN."""
    folder = tmp_path_factory.mktemp("made") / "artifact"
    small.write_artifact(folder)
    artifact, engines = Artifact.open(folder), folder / "engines" / "sm87-trt10.3.0"
    engines.mkdir(parents=True)
    for part in artifact.parts:
        (engines / f"{part}.plan").write_bytes(part.encode())
    plans = {path.name: file_sha256(path) for path in engines.iterdir()}
    sources = {part: source_sha256(artifact, part) for part in artifact.parts}
    Build(**vars(ORIN), files=plans, sources=sources, seconds={}).write(engines / "build.json")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a case may break, in an otherwise empty working directory."""
    shutil.copytree(made, tmp_path / "artifact")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(line: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr; nothing is printed besides, and no file comes, goes or changes."""
    before = contents()
    capsys.readouterr()
    status = main(line.split())
    shown = capsys.readouterr()
    assert (status, shown.out, shown.err.count("\n")) == (2, "", 1), shown
    assert contents() == before
    return shown.err


def contents() -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in Path().rglob("*")}


def changed(name: str) -> Harm:
    """One bit of this file is another."""

    def harm(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return harm


def gone(name: str) -> Harm:
    return lambda folder: (folder / name).unlink()


def resealed(folder: Path, **values: Any) -> None:
    """The manifest with other values and the sha256 of the files as they are: its digests fit, what it says may not."""
    manifest = Manifest.read(folder)
    files = {name: file_sha256(folder / name) for name in manifest.files}
    replace(manifest, files=files, **values).write(folder)


def opset_19(folder: Path) -> None:
    model = onnx.load(folder / "decoder.onnx")
    model.opset_import[0].version = 19
    (folder / "decoder.onnx").write_bytes(model.SerializeToString())
    resealed(folder)


def newer_schema(folder: Path) -> None:
    content = json.loads((folder / "manifest.json").read_text())
    del content["sha256"]
    (folder / "manifest.json").write_text(sealed({**content, "schema": 2}))


def trained_further(folder: Path) -> None:
    changed("step.onnx.data")(folder)
    resealed(folder)


def tampered(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"guidance": 1.0', '"guidance": 9.0'))


HARMED: dict[str, tuple[Harm, str, str]] = {
    "tampered manifest": (tampered, "artifact/manifest.json: was changed after it was written", EXPORT_AGAIN),
    "manifest of another schema": (newer_schema, "artifact/manifest.json: schema 2, this worldmodel", EXPORT_AGAIN),
    "no manifest": (gone("manifest.json"), "artifact/manifest.json: no such file", THE_FOLDER),
    "no artifact": (shutil.rmtree, "artifact: no such folder", THE_FOLDER),
    "missing graph": (gone("encoder.onnx"), "artifact/encoder.onnx: missing", f"copy or {EXPORT_AGAIN}"),
    "missing weights": (gone("step.onnx.data"), "artifact/step.onnx.data: missing", f"copy or {EXPORT_AGAIN}"),
    "altered graph": (changed("decoder.onnx"), "artifact/decoder.onnx: altered or inc", f"copy or {EXPORT_AGAIN}"),
    "altered weights": (changed("step.onnx.data"), "artifact/step.onnx.data: altered", f"copy or {EXPORT_AGAIN}"),
    "wrong opset": (opset_19, "artifact/decoder.onnx: opset 19, its manifest says 20", EXPORT_AGAIN),
}
VERBS = {
    "check": "export check artifact target=orin build=false",
    "verify": "export verify artifact",
    "build": "export build artifact",
    "bench": "export bench artifact out=figures",
    "budget": "export budget artifact=artifact",
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("case", HARMED)
def test_a_harmed_artifact(case: str, verb: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    harm, named, remedy = HARMED[case]
    harm(here / "artifact")
    said = refusal(VERBS[verb], capsys)
    assert said.startswith(f"error: {named}") and f"; {remedy}" in said


ENGINES: dict[str, tuple[Machine, Harm | None, str]] = {
    "another GPU": (
        Machine("Thor", "11.0", "10.3.0"),
        None,
        f"artifact: its engines are for {ORIN}, this is Thor (compute capability 11.0) with TensorRT 10.3.0",
    ),
    "another GPU of the same compute capability": (
        replace(ORIN, gpu="Orin NX"),
        None,
        f"artifact: its engines are for {ORIN}, this is Orin NX (compute",
    ),
    "another TensorRT": (
        replace(ORIN, tensorrt="10.16.2"),
        None,
        f"artifact: its engines are for {ORIN}, this is Orin (compute capability 8.7) with TensorRT 10.16.2",
    ),
    "of weights trained further": (
        ORIN,
        trained_further,
        "artifact/engines/sm87-trt10.3.0/step.plan: built from another step than this artifact's",
    ),
    "altered": (
        ORIN,
        changed("engines/sm87-trt10.3.0/step.plan"),
        "artifact/engines/sm87-trt10.3.0/step.plan: altered or incomplete",
    ),
    "missing": (
        ORIN,
        gone("engines/sm87-trt10.3.0/decoder.plan"),
        "artifact/engines/sm87-trt10.3.0/decoder.plan: missing",
    ),
    "none": (ORIN, lambda folder: shutil.rmtree(folder / "engines"), "artifact: holds no TensorRT engines"),
}


@pytest.mark.parametrize("case", ENGINES)
def test_engines_that_do_not_fit(
    case: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which GPU and which TensorRT this is, is all that is made up: there is neither. Loading a plan would fail."""
    machine, harm, named = ENGINES[case]
    if harm is not None:
        harm(here / "artifact")
    gpu = SimpleNamespace(gpu=lambda: (machine.gpu, machine.compute_capability))
    monkeypatch.setattr(tensorrt, "Cuda", lambda: gpu)
    monkeypatch.setattr(tensorrt, "_imported", lambda: SimpleNamespace(__version__=machine.tensorrt))
    said = refusal("export run artifact a.mp4 b.mp4 out.npy backend=tensorrt", capsys)
    assert said.startswith(f"error: {named}") and said.endswith(f"; {BUILD_HERE}\n")


@pytest.mark.parametrize("precision", ["fp8", "bf16"])
def test_numbers_that_orin_does_not_compute_in(
    precision: PrecisionName, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At export before the checkpoint is looked for: there is none of that name."""
    resealed(here / "artifact", precision=Precision("fp16", precision, "fp16"))
    words = "target=orin: Jetson AGX Orin (compute capability 8.7) does not compute in"
    for line in (
        "export check artifact target=orin build=false",
        f"export checkpoint=nowhere precision={precision} target=orin out=new",
    ):
        said = refusal(line, capsys)
        assert said.startswith(f"error: {words} {precision}, which the step uses;")
        assert said.endswith("; export with precision=int8 or fp16 or fp32, or target=thor or x86\n")


def test_an_opset_that_no_tensorrt_of_the_target_takes(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here the table comes first: the line on stderr is its first finding."""
    model = onnx.load(here / "artifact" / "step.onnx", load_external_data=False)
    model.opset_import[0].version = 21
    (here / "artifact" / "step.onnx").write_bytes(model.SerializeToString())
    resealed(here / "artifact", opset=21)
    before = contents()
    status = main("export check artifact target=orin build=false parts=[step]".split())
    shown = capsys.readouterr()
    assert (status, shown.err.count("\n")) == (2, 1) and contents() == before
    assert shown.err.startswith("error: artifact will not build for target=orin: step: opset 21: TensorRT 10.3 takes")
    assert json.loads(shown.out.splitlines()[-1])["problems"]
