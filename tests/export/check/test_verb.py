"""`worldmodel export check` on a whole artifact, without NVIDIA's builder."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import small_artifact as small

from worldmodel.cli.commands.export_check import CheckConfig, check
from worldmodel.cli.main import main
from worldmodel.errors import InputError
from worldmodel.export.runtime.manifest import Manifest
from worldmodel.export.runtime.manifest_fields import Precision
from worldmodel.files import file_sha256


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    small.write_artifact(tmp_path / "artifact")
    return tmp_path / "artifact"


def test_a_sound_part_is_ok_for_every_tensorrt(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check(CheckConfig(str(artifact), "orin", build=False, parts=("encoder", "step")))
    lines = capsys.readouterr().out.splitlines()
    assert "TensorRT 10.3 (JetPack 6.1, 6.2)" in "".join(lines)
    assert any(line.startswith("| step | ok | ok | ok | not ") for line in lines)
    assert json.loads(lines[-1])["problems"] == []


def test_what_will_not_build_is_said_with_part_and_operator(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = small.STEP.replace(
        "scaled = Mul(first, sigma)", "size = Det(MIX)\n  sized = Mul(first, size)\n  scaled = Mul(sized, sigma)"
    )
    small.save(artifact / "step.onnx", text, external=True, MIX=small.MIX)
    manifest = Manifest.read(artifact)
    files = {name: file_sha256(artifact / name) for name in manifest.files}
    replace(manifest, files=files).write(artifact)
    assert main(["export", "check", str(artifact), "target=thor", "build=false", "parts=[step]"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "step" in said.err and "(Det)" in said.err and "no operator Det" in said.err
    assert "| step | 1 refused | 1 refused | 1 refused |" in said.out


def test_precision_is_asked_of_the_chip_first(artifact: Path) -> None:
    replace(Manifest.read(artifact), precision=Precision("fp16", "fp8", "fp16")).write(artifact)
    with pytest.raises(InputError, match="does not compute in fp8, which the step uses"):
        check(CheckConfig(str(artifact), "orin", build=False))
    check(CheckConfig(str(artifact), "orin", build=False, parts=("encoder",)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["target=xavier"], "target=xavier: choose one of orin, thor, x86"),
        (["target=orin", "parts=[vae]"], "parts=[vae]: choose of encoder, step, decoder"),
        ([], "key 'target' has no value"),
    ],
)
def test_wrong_words(artifact: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "check", str(artifact), *words]) == 2
    assert said in capsys.readouterr().err


def test_altered_files_are_not_judged(artifact: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (artifact / "step.onnx.data").write_bytes(b"0" * (artifact / "step.onnx.data").stat().st_size)
    assert main(["export", "check", str(artifact), "target=orin", "build=false"]) == 2
    assert "step.onnx.data: altered or incomplete" in capsys.readouterr().err
