"""The C++ runtime, built here with the library inside Python's wheel: the same pixels, and the same refusals.

The headers are the system's (Debian 13: libonnxruntime-dev) or in the folder that ONNXRUNTIME_INCLUDE_DIR names, see
`export/runtime/cpp/README.md`.

Shape legend: B cameras, F frames, H height, W width, C colours (3).
"""

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_artifact as small

from worldmodel.export.runtime.artifact import Artifact
from worldmodel.export.runtime.manifest import Manifest, sealed
from worldmodel.export.runtime.manifest_fields import Schedule
from worldmodel.export.runtime.predictor import Predictor
from worldmodel.export.runtime.self_test import note, observed_frames, thumbnail
from worldmodel.files import file_sha256

Run = Callable[..., subprocess.CompletedProcess[str]]
Harm = Callable[[Path], object]


def shell(*words: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **options)


def compiler() -> str:
    found = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if not found or not shutil.which("cmake"):
        pytest.skip("no cmake or no C++ compiler (Debian: apt install cmake g++)")
    return found


def headers() -> Path:
    """The folder of ONNX Runtime's C++ headers; skips where there is none that the wheel's library serves."""
    onnxruntime = pytest.importorskip("onnxruntime")
    folder = Path(os.environ.get("ONNXRUNTIME_INCLUDE_DIR", "/usr/include/onnxruntime"))
    if not (folder / "onnxruntime_cxx_api.h").is_file():
        pytest.skip("no C++ headers of ONNX Runtime (Debian 13: libonnxruntime-dev; or set ONNXRUNTIME_INCLUDE_DIR)")
    wanted = re.findall(r"#define ORT_API_VERSION (\d+)", (folder / "onnxruntime_c_api.h").read_text())[0]
    if int(onnxruntime.__version__.split(".")[1]) < int(wanted):
        pytest.skip(f"onnxruntime {onnxruntime.__version__} is older than the headers of 1.{wanted}; upgrade it")
    return folder


def library() -> Path:
    """The library inside Python's wheel: what is to give the same pixels should be the same code."""
    import onnxruntime

    found = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not found:
        pytest.skip("this onnxruntime has no libonnxruntime.so beside its Python module (a Linux wheel has)")
    return found[0]


@pytest.fixture(scope="session")
def source(repository: Path) -> Path:
    return repository / "export" / "runtime" / "cpp"


@pytest.fixture(scope="session")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where program, library and headers were installed; skips where something is missing, and says what."""
    compiler()
    place = tmp_path_factory.mktemp("cpp")
    given = [f"-DONNXRUNTIME_INCLUDE_DIR={headers()}", f"-DONNXRUNTIME_LIBRARY={library()}"]
    given += ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS=-march=native"]  # which has fused multiply-add
    configured = shell("cmake", "-S", source, "-B", place / "build", *given)
    if missing := re.search(r"\w\S* is\s+missing;.*", configured.stderr, re.DOTALL):
        pytest.skip(" ".join(missing[0].split("Call Stack")[0].split()))
    assert configured.returncode == 0, configured.stderr
    built = shell("cmake", "--build", place / "build")
    assert built.returncode == 0 and "warning:" not in built.stdout + built.stderr, built.stdout + built.stderr
    done = shell("cmake", "--install", place / "build", "--prefix", place / "prefix")
    assert done.returncode == 0, done.stderr
    shutil.rmtree(place / "build")
    return place / "prefix"


@pytest.fixture(scope="session")
def compiled(installed: Path) -> Callable[[str, str], Path]:
    """compiled(name, text): a program of one's own against what was installed."""

    def program(name: str, text: str) -> Path:
        source, libraries = installed / f"{name}.cpp", next(installed.glob("lib*"))
        source.write_text(text)
        options = f"-std=c++17 -Wall -Wextra -Werror -I{installed}/include {source} -L{libraries} -lworldmodel_runtime"
        words = f"{options} -Wl,-rpath,{libraries} -o {installed / name}".split()
        done = shell(compiler(), *words)
        assert done.returncode == 0, done.stderr
        return installed / name

    return program


@pytest.fixture(scope="session")
def probe(compiled: Callable[[str, str], Path], source: Path) -> Path:
    return compiled("probe", (source / "tests" / "probe.cpp").read_text())


@pytest.fixture
def run(installed: Path) -> Run:
    """run(line): the program with these words, in the working directory."""
    return lambda line: shell(installed / "bin" / "worldmodel-run", *line.split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two artifacts, with the self-test of what Python predicts."""
    place = tmp_path_factory.mktemp("made")
    for name in ("sequence", "streaming"):
        manifest = small.write_artifact(place / name, streams=name == "streaming")
        with Predictor.open(place / name, threads=1) as predictor:
            predicted = predictor.predict(observed_frames(7, manifest.video_shape), 2)
        replace(manifest, self_test=note(predicted, seed=7, steps=2, tolerance=2.0)).write(place / name)
    return place


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with copies that a case may break, and what the cameras saw."""
    for name in ("sequence", "streaming"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    np.save("observed.npy", small.drive())
    return tmp_path


def same_pixels(run: Run, folder: str | Path, observed: np.ndarray, line: str, **words: Any) -> dict[str, Any]:
    """What the program said, having given the pixels that Python's runtime gives."""
    np.save("observed.npy", observed)
    done = run(f"{folder} observed.npy futures/future.npy threads=1 {line}")
    assert (done.returncode, done.stderr) == (0, "")
    with Predictor.open(folder, threads=1) as predictor:
        expected = predictor.rollout(observed, **words)
    found, said = np.load("futures/future.npy"), json.loads(done.stdout.splitlines()[-1])
    assert found.dtype == np.uint8 and np.array_equal(found, expected) and expected.std() > 5
    assert said["calls"] == predictor.calls and set(said["seconds"]) == set(said["calls"])
    assert (said["frames"], said["size"]) == (expected.shape[1], list(expected.shape[2:4]))
    assert os.listdir("futures") == ["future.npy"], "no temporary file is left"
    return dict(said)


WORDS: dict[str, dict[str, Any]] = {
    "": {"chunks": 1},
    "chunks=3 steps=2": {"chunks": 3, "steps": 2},
    "chunks=3 feed=latents": {"chunks": 3, "feed": "latents"},
    "chunks=2 steps=10": {"chunks": 2, "steps": 10},  # of the exported model alone
}


@pytest.mark.parametrize("words", list(WORDS)[:3])
@pytest.mark.parametrize("name", ["sequence", "streaming"])
def test_the_pixels_are_pythons(name: str, words: str, here: Path, run: Run) -> None:
    said = same_pixels(run, name, small.drive(), words, **WORDS[words])
    assert said["calls"]["encoder"] == (1 if "latents" in words else said["chunks"])


@pytest.mark.parametrize("words", ["", "chunks=2 steps=10", "chunks=3 feed=latents"])
def test_the_pixels_are_pythons_on_an_exported_model(
    words: str, artifact: Callable[..., Path], here: Path, run: Run
) -> None:
    folder = artifact("tiny", "fp32")
    observed = np.random.default_rng(0).integers(0, 256, Manifest.read(folder).video_shape, dtype=np.uint8)
    said = same_pixels(run, folder, observed, f"self_test=true {words}", **WORDS[words])
    assert said["calls"]["encoder"] == (1 if "latents" in words else said["chunks"])
    assert said["self_test"] == {"exact": True, "difference": 0.0, "passed": True}


def test_products_are_rounded_before_they_are_added(here: Path, run: Run) -> None:
    """As in numpy: large terms cancel, and what a fused multiply-add would not round is left in the pixels."""
    cancelling = Schedule((0.5, 0.5), (1.0, 1.0), ((0.0,), (1234567.0, -1234567.0)))
    replaced(here, schedules={"2": cancelling, "5": small.schedule(5)})
    same_pixels(run, "sequence", small.drive(), "steps=2", chunks=1, steps=2)


def test_products_of_8_bits_are_the_integers_as_in_python(here: Path, run: Run) -> None:
    """Of the largest numbers, which processors without VNNI would saturate."""
    largest = np.random.default_rng(0).choice(np.array([-127, 126, 127], np.int8), (small.c, small.c))
    graph("step.onnx", EIGHT_BITS, MIX=largest)(here)
    same_pixels(run, "sequence", small.drive(), "steps=2", chunks=1, steps=2)


@pytest.mark.parametrize("name", ["sequence", "streaming"])
def test_a_machine_that_rounds_otherwise_passes_the_self_test(name: str, here: Path, run: Run) -> None:
    done = run(f"{name} observed.npy exact.npy threads=1 self_test=true")
    assert json.loads(done.stdout.splitlines()[-1])["self_test"] == {"exact": True, "difference": 0.0, "passed": True}
    manifest = Manifest.read(name)
    assert manifest.self_test is not None
    noted = np.frombuffer(base64.b64decode(manifest.self_test.thumbnail), np.uint8).copy()
    noted[5] ^= 2
    near = base64.b64encode(noted.tobytes()).decode()
    replace(manifest, self_test=replace(manifest.self_test, sha256="ab" * 32, thumbnail=near)).write(name)
    done = run(f"{name} observed.npy near.npy threads=1 self_test=true")
    assert json.loads(done.stdout.splitlines()[-1])["self_test"] == {"exact": False, "difference": 2.0, "passed": True}


@pytest.mark.parametrize(("seed", "shape"), [(5489, (1, 2, 9, 17, 3)), (0, (2, 9, 30, 46, 3)), (7, (1, 3, 57, 91, 3))])
def test_frames_and_means_of_the_self_test(
    seed: int, shape: tuple[int, int, int, int, int], probe: Path, tmp_path: Path
) -> None:
    done = shell(probe, "frames", str(seed), tmp_path / "frames.npy", *map(str, shape))
    expected = observed_frames(seed, shape)
    assert done.returncode == 0 and np.array_equal(np.load(tmp_path / "frames.npy"), expected), done.stderr
    assert np.array_equal(np.array(done.stdout.split(), float), thumbnail(expected).ravel())


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_dynamic_artifact_takes_the_shapes_that_python_takes(dynamic: bool, here: Path, probe: Path) -> None:
    manifest = replace(Manifest.read("sequence"), dynamic=dynamic)
    manifest.write("sequence")
    sizes = [(2, 9, 16, 24, 3), (1, 9, 16, 24, 3), (3, 1, 8, 40, 3), (1, 8, 16, 24, 3), (1, 9, 12, 24, 3)]
    for shape in [*sizes, (1, 9, 16, 20, 3), (1, 9, 16, 24, 4), (0, 9, 16, 24, 3), (9, 16, 24, 3)]:
        done = shell(probe, "takes", "sequence", *map(str, shape))
        fits = Artifact(here / "sequence", manifest)._takes(shape)
        assert done.returncode == (0 if fits else 2), (shape, done.stderr)
        assert fits or f"video of uint8 {list(shape)}: this artifact takes uint8 [2, 9, 16, 24, 3]" in done.stderr


def test_the_program_of_the_readme_runs(
    source: Path, here: Path, compiled: Callable[[str, str], Path], run: Run
) -> None:
    text = re.findall(r"```cpp\n(.*?)```", (source / "README.md").read_text(), re.DOTALL)[0]
    done = shell(compiled("car", text), "streaming", "observed.npy")
    assert done.returncode == 0 and done.stdout.startswith("step ran 15 times, "), done.stderr
    chunks = [np.load(f"{chunk}.npy") for chunk in range(3)]
    with Predictor.open("streaming", threads=1) as predictor:
        assert np.array_equal(np.concatenate(chunks, axis=1), predictor.rollout(small.drive(), 3, "latents"))
    assert run("--help").stdout.startswith("worldmodel-run ARTIFACT observed.npy future.npy")


def test_both_formats_of_numpys_files_are_read(here: Path, run: Run) -> None:
    for version in (1, 2):
        saved(small.drive(), (version, 0))(here)
        assert run(f"sequence observed.npy {version}.npy threads=1").returncode == 0
    assert Path("1.npy").read_bytes() == Path("2.npy").read_bytes()
    with open("1.npy", "rb") as file:
        assert np.lib.format.read_magic(file) == (1, 0)
        assert np.lib.format.read_array_header_1_0(file) == ((2, 9, 16, 24, 3), False, np.dtype("uint8"))


def contents(place: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in place.rglob("*")}


def edited(name: str, change: Callable[[bytes], bytes]) -> Harm:
    """This file with other content."""
    return lambda place: (place / name).write_bytes(change((place / name).read_bytes()))


def gone(name: str) -> Harm:
    return lambda place: (place / name).unlink()


def resealed(**values: Any) -> Harm:
    """The manifest with other keys or values; its own sha256 fits."""

    def change(text: bytes) -> bytes:
        content = json.loads(text) | {"sha256": "left out"} | values
        return sealed({key: value for key, value in content.items() if value != "left out"}).encode()

    return edited("sequence/manifest.json", change)


def replaced(place: Path, **values: Any) -> None:
    """The manifest with other values that fit together, and the sha256 of the files as they are."""
    manifest = Manifest.read(place / "sequence")
    files = {name: file_sha256(place / "sequence" / name) for name in manifest.files}
    replace(manifest, files=files, **values).write(place / "sequence")


def graph(name: str, text: str, **weights: np.ndarray) -> Harm:
    """Another graph, and a manifest whose sha256 fit."""

    def harm(place: Path) -> None:
        small.save(place / "sequence" / name, text, **weights)
        replaced(place)

    return harm


# ONNX Runtime has no such kernel on a CPU
BF16 = small.STEP.replace("MatMul(last, MIX)", "Cast<to = 1>(product)").replace(
    "mixed =",
    "narrow = Cast<to = 16>(last)\n  weights = Cast<to = 16>(MIX)\n  product = MatMul(narrow, weights)\n  mixed =",
)
EIGHT_BITS = small.STEP.replace(
    "mixed =",
    """far = Constant<value_float = 4096.0>()
  least = Constant<value_float = 0.0>()
  most = Constant<value_float = 255.0>()
  levels = Mul(last, far)
  within = Clip(levels, least, most)
  bytes = Cast<to = 2>(within)
  whole = MatMulInteger(bytes, MIX)
  counted = Cast<to = 1>(whole)
  small = Constant<value_float = 0.00001>()
  mixed =""",
).replace("MatMul(last, MIX)", "Mul(counted, small)")
CLIP = small.ENCODER.replace("24,3] video", "24,3] clip").replace("(video)", "(clip)")
OPSET_19 = small.ENCODER.replace('"" : 20', '"" : 19')


def not_onnx(place: Path) -> None:
    (place / "sequence" / "encoder.onnx").write_text("<html>")
    replaced(place)


def out_of_range(place: Path) -> None:
    replaced(place, schedules={"5": replace(small.schedule(5), source=(1e39,) * 5)})


def self_test_fails(place: Path) -> None:
    noted = Manifest.read(place / "sequence").self_test
    assert noted is not None
    means = np.frombuffer(base64.b64decode(noted.thumbnail), np.uint8) ^ 128
    replaced(place, self_test=replace(noted, thumbnail=base64.b64encode(means.tobytes()).decode()))


def saved(array: Any, version: tuple[int, int] = (1, 0)) -> Harm:
    def harm(place: Path) -> None:
        with (place / "observed.npy").open("wb") as file:
            np.lib.format.write_array(file, array, version)

    return harm


SEEN = "observed.npy"
LINE = "sequence observed.npy future.npy threads=1"
AGAIN, COPY = "; export the artifact again", "; copy or export the artifact again"
THE_FOLDER = "; give the folder that `worldmodel export` wrote"
TAKES = ": this artifact takes uint8 [2, 9, 16, 24, 3] (cameras, frames, height, width, RGB); cut and scale the frames"
NUMPY = "; write it with numpy.save"
JSON, MANIFEST = "sequence/manifest.json", "sequence/manifest.json: "

REFUSED: list[tuple[Harm | None, str, str]] = [
    (lambda place: shutil.rmtree(place / "sequence"), LINE, f"sequence: no such folder{THE_FOLDER}"),
    (gone(JSON), LINE, f"{MANIFEST}no such file{THE_FOLDER}"),
    (edited(JSON, lambda text: text[1:]), LINE, f"{MANIFEST}not a JSON object{AGAIN}"),
    (edited(JSON, lambda text: text.replace(b"1.0", b"9.0")), LINE, f"{MANIFEST}was changed after it was written"),
    (edited(JSON, lambda text: text.replace(b"encoder", b"enc\xffder")), LINE, MANIFEST),
    (resealed(schema=2), LINE, f"{MANIFEST}schema 2, this program reads schema 1{AGAIN}"),
    (resealed(colour="blue"), LINE, f"{MANIFEST}unknown key 'colour'{AGAIN}"),
    (resealed(opset="left out"), LINE, f"{MANIFEST}key 'opset' is missing{AGAIN}"),
    (resealed(frames=9.5), LINE, f"{MANIFEST}frames is 9.5, not a whole number{AGAIN}"),
    (resealed(height=-16), LINE, f"{MANIFEST}height is -16, not a size{AGAIN}"),
    (resealed(precision={"encoder": "fp4"}), LINE, f"{MANIFEST}key 'precision.step' is missing{AGAIN}"),
    (resealed(conventions="ours"), LINE, f'{MANIFEST}conventions is "ours", not one of paper, published{AGAIN}'),
    (resealed(latents=[4, 3, 2]), LINE, f"{MANIFEST}latents has 3 values, not 4{AGAIN}"),
    (resealed(default_steps=3), LINE, f"{MANIFEST}default_steps 3 has no schedule{AGAIN}"),
    (resealed(parts={}), LINE, f"{MANIFEST}parts are , not encoder, step and decoder"),
    (gone("sequence/encoder.onnx"), LINE, f"sequence/encoder.onnx: missing{COPY}"),
    (gone("sequence/step.onnx.data"), LINE, f"sequence/step.onnx.data: missing{COPY}"),
    (edited("sequence/decoder.onnx", lambda content: content[:-1]), LINE, "sequence/decoder.onnx: altered"),
    (edited("sequence/step.onnx.data", lambda _: b"?"), LINE, "sequence/step.onnx.data: altered or incomplete"),
    (graph("encoder.onnx", OPSET_19, IN=small.IN), LINE, "sequence/encoder.onnx: opset 19, its manifest says 20"),
    (not_onnx, LINE, f"sequence/encoder.onnx: not an ONNX model{AGAIN}"),
    (graph("step.onnx", BF16, MIX=small.MIX), LINE, "sequence/step.onnx: ONNX Runtime 1."),
    (graph("encoder.onnx", CLIP, IN=small.IN), LINE, "sequence/encoder.onnx: has no input video, which its manifest"),
    (None, f"{LINE} prompt_sha256={'cd' * 32}", "sequence: its prompt has sha256 abababababab…, not cdcdcdcdcdcd…"),
    (out_of_range, LINE, "the fp32 step left the range of its numbers; export with another precision"),
    (self_test_fails, f"{LINE} self_test=true", "sequence: the self-test fails here, blocks differ by up to 128"),
    (resealed(self_test=None), f"{LINE} self_test=true", f"sequence: holds no self-test{AGAIN}"),
    (gone("observed.npy"), LINE, "observed.npy: no such file; check the path"),
    (saved(small.drive()[:1]), LINE, f"observed.npy of uint8 [1, 9, 16, 24, 3]{TAKES}"),
    (saved(small.drive().astype(np.float32)), LINE, f"observed.npy of float32 [2, 9, 16, 24, 3]{TAKES}"),
    (saved(np.array([None])), LINE, f"observed.npy of |O [1]{TAKES}"),
    (saved(np.asfortranarray(small.drive())), LINE, "observed.npy: in Fortran order; save numpy.ascontiguousarray"),
    (edited(SEEN, lambda _: bytes(99)), LINE, f"observed.npy: not a .npy file{NUMPY}"),
    (edited(SEEN, lambda content: content[:9]), LINE, f"observed.npy: cut off{NUMPY}"),
    (saved(small.drive(), (3, 0)), LINE, f"observed.npy: of .npy format 3.0, not 1.0 or 2.0{NUMPY}"),
    (edited(SEEN, lambda content: content[:-1]), LINE, "observed.npy: cut off or too long for its shape [2, 9"),
    (None, f"{LINE} steps=3", "steps=3: this artifact holds schedules of 2, 5; use one of them"),
    (None, f"{LINE} steps=many", "steps=many: give a whole number"),
    (None, f"{LINE} chunks=0", "chunks=0: use at least 1"),
    (None, f"{LINE} feed=noise", "feed=noise: use frames or latents"),
    (None, f"{LINE} step=2", "step=2: no such key; use steps, chunks, feed, threads, self_test or prompt_sha256"),
    (None, f"{LINE} threads=2", "threads: given twice; say it once"),
    (None, "sequence observed.npy future.npy threads=0", "threads=0: use at least 1, or leave it out"),
    (None, f"{LINE} latents", "latents: give key=value after the three paths"),
    (None, "sequence observed.npy", "too few words; give ARTIFACT observed.npy future.npy"),
    (None, "sequence observed.npy observed.npy", "out=observed.npy: exists already; choose another name"),
    (None, "sequence observed.npy future.mp4", "out=future.mp4: give a name ending in .npy"),
    (None, "sequence observed.npy observed.npy/o.npy", "observed.npy: is no folder; give one that can be written"),
]  # fmt: skip


def test_a_manifest_from_before_conventions_were_a_choice_is_read(here: Path, run: Run) -> None:
    resealed(conventions="left out")(here)
    done = run(LINE)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("harm", "line", "said"), REFUSED, ids=[said[:50] for _, _, said in REFUSED])
def test_what_cannot_be_is_refused_in_one_line(harm: Harm | None, line: str, said: str, here: Path, run: Run) -> None:
    if harm is not None:
        harm(here)
    before = contents(here)
    done = run(line)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"error: {said}") and contents(here) == before


MISSING = {
    "-DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON": "nlohmann-json is missing; install",
    "-DCMAKE_DISABLE_FIND_PACKAGE_OpenSSL=ON": "OpenSSL is missing; install",
    "-DONNXRUNTIME_INCLUDE_DIR=/nowhere": "ONNX Runtime's C++ headers are missing; install Debian 13's libonnxruntime",
    "-DONNXRUNTIME_LIBRARY=/nowhere/libonnxruntime.so": "ONNX Runtime's library is missing; install Debian 13's libo",
}


@pytest.mark.parametrize("option", MISSING)
@pytest.mark.usefixtures("installed")
def test_cmake_says_what_is_missing(option: str, source: Path, tmp_path: Path) -> None:
    given = [f"-DONNXRUNTIME_INCLUDE_DIR={headers()}", f"-DONNXRUNTIME_LIBRARY={library()}", option]
    done = shell("cmake", "-S", source, "-B", tmp_path / "build", *given)
    assert done.returncode != 0 and MISSING[option] in " ".join(done.stderr.split()), done.stderr
