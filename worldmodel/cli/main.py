"""`worldmodel VERB [key=value ...]`: the verbs, their help, and errors in one line.

Nothing but the standard library is imported before a verb is known, so that `worldmodel --help` answers at once.
"""

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from worldmodel.errors import InputError, Stopped, UserError
from worldmodel.termination import Terminated, unwound_by_signals
from worldmodel.version import __version__


@dataclass(frozen=True)
class Verb:
    """One thing the command line does.

    Attributes:
        summary: one line for the list of verbs.
        config: ``module:Class`` of the plain dataclass with its keys.
        function: ``module:name`` of the function that takes that dataclass.
        examples: commands that can be pasted.
        positional: keys whose values may be given as bare words, in this order; in a plain verb one may end in
            ``...`` and takes all words that are over.
        plain: runs where neither Hydra nor torch is; its keys are read by the standard library, it has no presets.
    """

    summary: str
    config: str
    function: str
    examples: tuple[str, ...]
    positional: tuple[str, ...] = ()
    plain: bool = False

    def load(self, dotted: str) -> Any:
        module, _, name = dotted.partition(":")
        return getattr(import_module(module), name)


VERBS: dict[str, Verb] = {
    "demo": Verb(
        "make a small toy drive, predict six cameras from a held-out scene, show pictures and figures",
        "worldmodel.cli.commands.demo:DemoConfig",
        "worldmodel.cli.commands.demo:run_demo",
        ("worldmodel demo", "worldmodel demo steps=1 chunks=3 seconds=7 out=outputs/demo-long overwrite=true"),
    ),
    "data toyworld": Verb(
        "draw a procedural drive with six cameras as a nuScenes dataset",
        "worldmodel.cli.commands.data_toyworld:ToyWorldVerb",
        "worldmodel.cli.commands.data_toyworld:toyworld",
        (
            "worldmodel data toyworld",
            "worldmodel data toyworld root=data/toyworld train_scenes=20 val_scenes=5 seed=1",
        ),
    ),
    "data index": Verb(
        "index the tables of a nuScenes dataset and say what it holds",
        "worldmodel.cli.commands.data_index:IndexVerb",
        "worldmodel.cli.commands.data_index:index",
        (
            "worldmodel data index root=data/toyworld version=v1.0-toy split=val",
            "worldmodel data index root=/datasets/nuscenes version=v1.0-trainval",
        ),
    ),
    "cache build": Verb(
        "encode and invert all chunk pairs of a training run beforehand, in one job or several",
        "worldmodel.training.config:CacheBuildConfig",
        "worldmodel.cli.commands.cache:build_cache",
        (
            "worldmodel cache build experiment=tiny pretrained=tiny_base",
            "worldmodel cache build experiment=tiny pretrained=tiny_base task=0 tasks=8",
        ),
    ),
    "cache look": Verb(
        "decode some pairs of a latent cache into a picture",
        "worldmodel.training.config:CacheLookConfig",
        "worldmodel.cli.commands.cache:look_into_cache",
        ("worldmodel cache look folder=outputs/tiny/store/latents-... pretrained=tiny_base out=cache.png",),
    ),
    "train": Verb(
        "train FlowFrames on consecutive chunks",
        "worldmodel.training.config:TrainConfig",
        "worldmodel.training:train",
        (
            "worldmodel train experiment=tiny pretrained=tiny_base steps=100 out=outputs/try",
            "worldmodel train experiment=tiny pretrained=tiny_base out=outputs/try resume=true",
            "worldmodel train data.root=/datasets/nuscenes pretrained=outputs/tiny/flowframes/pipeline",
        ),
    ),
    "predict": Verb(
        "predict the next frames of a nuScenes scene, a video file or a folder",
        "worldmodel.cli.commands.predict:PredictConfig",
        "worldmodel.cli.commands.predict:predict",
        (
            "worldmodel predict source=data/toyworld scene=toy-9000 chunks=2",
            "worldmodel predict source=/datasets/nuscenes version=v1.0-mini scene=scene-0103 'cameras=[CAM_FRONT]'",
            "worldmodel predict source=drive.mp4 start=2.5 out=outputs/drive",
            "worldmodel predict source=my_rig 'cameras=[CAM_FRONT:front.mp4,CAM_BACK:back.mp4]' out=outputs/rig",
        ),
    ),
    "benchmark": Verb(
        "compare world models on fixed clips, or measure their memory and latency",
        "worldmodel.benchmarks.suites.config:BenchmarkConfig",
        "worldmodel.benchmarks.suites.run:benchmark",
        (
            "worldmodel benchmark suite=quality clips=toyworld-val root=data/toyworld",
            "worldmodel benchmark suite=latency cost.profile=small out=outputs/latency",
            "worldmodel benchmark suite=nfe 'evaluations=[1,5]' methods.flowframes.checkpoint=tiny out=outputs/nfe",
        ),
    ),
    "benchmark clips": Verb(
        "build or check a clip list",
        "worldmodel.benchmarks.clips.verb:ClipsConfig",
        "worldmodel.benchmarks.clips.verb:clips",
        (
            "worldmodel benchmark clips list=toyworld-val root=data/toyworld",
            "worldmodel benchmark clips list=vista-val root=/datasets/nuscenes check=true",
        ),
    ),
    "benchmark compare": Verb(
        "say what differs between two benchmarks, in settings first and then in numbers",
        "worldmodel.benchmarks.suites.compare:CompareConfig",
        "worldmodel.benchmarks.suites.compare:compare",
        ("worldmodel benchmark compare outputs/benchmark outputs/other",),
        positional=("a", "b"),
    ),
    "export": Verb(
        "export a pipeline to ONNX graphs that run without torch, for a vehicle",
        "worldmodel.export.config:ExportConfig",
        "worldmodel.export.exporting:export",
        (
            "worldmodel export checkpoint=tiny out=artifacts/tiny",
            "worldmodel export checkpoint=outputs/ltx/pipeline cameras=6 calibration=data/toyworld out=artifacts/ltx",
            "worldmodel export checkpoint=tiny precision=int8 calibration=data/toyworld out=artifacts/tiny-int8",
            "worldmodel export weights=random family=wan wan_decoder=stream self_test=false out=artifacts/wan-random",
        ),
    ),
    "export run": Verb(
        "predict from videos with an exported artifact; needs no torch",
        "worldmodel.export.runtime.run:RunConfig",
        "worldmodel.export.runtime.run:run",
        (
            "worldmodel export run artifacts/tiny drive.mp4 future.mp4",
            "worldmodel export run artifacts/rig front.mp4 left.mp4 right.mp4 outputs/future chunks=2 feed=latents",
        ),
        positional=("artifact", "videos...", "out"),
        plain=True,
    ),
    "export verify": Verb(
        "compare an artifact with its pipeline, part by part and from frames to frames",
        "worldmodel.export.verify.config:VerifyConfig",
        "worldmodel.export.verify.verb:verify",
        (
            "worldmodel export verify artifacts/tiny source=data/toyworld",
            "worldmodel export verify artifacts/ltx prompt_embeds=prompt.safetensors 'steps=[5]' backend=tensorrt",
        ),
        positional=("artifact",),
        plain=True,
    ),
    "export check": Verb(
        "say whether an artifact will build for a chip: rules, and NVIDIA's own builder where installed, without a GPU",
        "worldmodel.export.check.verb:CheckConfig",
        "worldmodel.export.check.verb:check",
        (
            "worldmodel export check artifacts/tiny target=orin",
            "worldmodel export check artifacts/ltx-fp8 target=thor 'parts=[step]'",
        ),
        positional=("artifact",),
        plain=True,
    ),
    "export build": Verb(
        "build TensorRT engines of an artifact on the machine that will run them; needs no torch",
        "worldmodel.export.engines:BuildConfig",
        "worldmodel.export.engines:build",
        (
            "worldmodel export build artifacts/tiny",
            "worldmodel export build artifacts/ltx workspace_gb=2",
        ),
        positional=("artifact",),
        plain=True,
    ),
    "export bench": Verb(
        "time an artifact's parts and predictions on this machine, beside torch and beside other precisions",
        "worldmodel.export.bench.config:BenchConfig",
        "worldmodel.export.bench.verb:bench",
        (
            "worldmodel export bench artifacts/ltx-fp32 artifacts/ltx-int8",
            "worldmodel export bench artifacts/tiny 'backends=[onnxruntime,tensorrt]' out=outputs/bench",
            "worldmodel export bench artifacts/ltx-fp16 device=cuda 'backends=[eager,compile,onnxruntime,tensorrt]'",
        ),
        positional=("artifacts...",),
        plain=True,
    ),
    "export budget": Verb(
        "say what a chip cannot beat for a size, steps and cameras, from FLOPs and bytes",
        "worldmodel.export.budget:BudgetConfig",
        "worldmodel.export.budget:budget",
        (
            "worldmodel export budget family=ltx frames=17 height=256 width=384 steps=5 cameras=6",
            "worldmodel export budget family=wan precision=int8 'chip=[Orin]'",
            "worldmodel export budget artifact=artifacts/tiny",
        ),
        plain=True,
    ),
    "view": Verb(
        "open, save or serve a Rerun recording of a rollout",
        "worldmodel.viewing:ViewConfig",
        "worldmodel.viewing:view",
        (
            "worldmodel view path=outputs/demo/rollout.rrd",
            "worldmodel view path=outputs/demo/rollout.rrd mode=serve port=9090",
        ),
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, 2 after one line `error: ...`, 143 where SIGTERM ended it."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with unwound_by_signals():
            run(words)
        sys.stdout.flush()
        return 0
    except Terminated as ending:
        print(ending, file=sys.stderr)
        return ending.exit_code
    except BrokenPipeError:  # `worldmodel --help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (Exception, KeyboardInterrupt) as error:
        message = one_line(error)
        if message is None or os.environ.get("WORLDMODEL_TRACEBACK") == "1":
            raise
        if isinstance(error, Stopped):
            print(message, file=sys.stderr)
            return error.exit_code
        print(f"error: {message}", file=sys.stderr)
        return 2


def run(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(general_help())
    elif words[0] == "--version":
        print(f"worldmodel {__version__}")
    else:
        name, rest = split_verb(words)
        run_verb(name, VERBS[name], rest)


def split_verb(words: list[str]) -> tuple[str, list[str]]:
    """The verb (one or two words) and what follows it."""
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in VERBS:
            return name, words[length:]
    seconds = [verb.split()[1] for verb in VERBS if verb.startswith(f"{words[0]} ")]
    if seconds and words[1:2] in ([], ["-h"], ["--help"]):
        raise InputError(f"{words[0]!r} needs a second word: worldmodel {words[0]} {' | '.join(seconds)}")
    raise InputError(f"no verb {' '.join(words[:2])!r}: choose one of {', '.join(VERBS)} (worldmodel --help)")


def run_verb(name: str, verb: Verb, words: list[str]) -> None:
    """Composes the configuration from the words and calls the verb's function with it."""
    flags, words, folder = take_flags(words)
    if verb.plain:
        run_plain(name, verb, flags, words, folder)
        return
    preset = name.replace(" ", "_")
    config_class = verb.load(verb.config)
    words = with_keys(words, verb.positional, config_class)
    from worldmodel.cli.compose import compose, compose_values

    if "--help" in flags:
        print(verb_help(name, verb, config_class, compose_values(config_class, preset, [])))
        return
    if "--cfg" in flags:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(OmegaConf.create(compose_values(config_class, preset, words, folder))), end="")
        return
    config = compose(config_class, preset, words, folder)
    function: Callable[[Any], Any] = verb.load(verb.function)
    function(config)


def run_plain(name: str, verb: Verb, flags: set[str], words: list[str], folder: Path | None) -> None:
    """The same for a verb whose keys the standard library reads."""
    from worldmodel.cli.words import as_yaml, from_words, values_of

    if folder is not None:
        raise InputError(f"--config-dir {folder}: {name} has no presets; leave it out")
    config_class = verb.load(verb.config)
    if "--help" in flags:
        print(verb_help(name, verb, config_class, values_of(config_class, [])))
    elif "--cfg" in flags:
        print(as_yaml(values_of(config_class, words, verb.positional)), end="")
    else:
        config = from_words(config_class, words, verb.positional)
        verb.load(verb.function)(config)


def with_keys(words: list[str], positional: tuple[str, ...], config_class: type) -> list[str]:
    """Bare words get the keys that `positional` names, in order; all others stay."""
    from worldmodel.cli.words import is_bare

    keys, known = iter(positional), {field.name for field in fields(config_class)}
    return [f"{key}={word}" if is_bare(word, known) and (key := next(keys, None)) else word for word in words]


def take_flags(words: list[str]) -> tuple[set[str], list[str], Path | None]:
    """Separates `--help`, `--cfg` and `--config-dir DIR` from the overrides."""
    flags, rest, folder = set(), [], None
    queue = iter(words)
    for word in queue:
        if word in ("-h", "--help", "--cfg"):
            flags.add("--help" if word == "-h" else word)
        elif word == "--config-dir":
            folder = Path(next(queue, ""))
        elif word.startswith("--") or word == "-":
            raise InputError(f"no flag {word}: settings are written key=value (worldmodel VERB --help lists the keys)")
        else:
            rest.append(word)
    return flags, rest, folder


def general_help() -> str:
    width = max(map(len, VERBS)) + 2
    verbs = "\n".join(f"  {name.ljust(width)}{verb.summary}" for name, verb in VERBS.items())
    return f"""usage: worldmodel VERB [key=value ...]

From observed camera frames of a drive to the next frames.

verbs:
{verbs}

worldmodel VERB --help   keys with defaults, presets, examples
worldmodel VERB --cfg    the composed settings as YAML, and nothing is run
worldmodel --version

examples:
  worldmodel demo
  worldmodel data toyworld root=data/toyworld

WORLDMODEL_TRACEBACK=1 shows where an error came from."""


def verb_help(name: str, verb: Verb, config_class: type, values: dict[str, Any]) -> str:
    from worldmodel.cli.help import describe, entry, presets

    keys = "\n".join(describe(config_class, values))
    shipped = [line for group, doc in presets("experiment").items() for line in entry(f"experiment={group}", doc)]
    words = " ".join(["worldmodel", name, *map(str.upper, verb.positional), "[key=value ...] [--cfg]"])
    lines = [f"usage: {words}{'' if verb.plain else ' [--config-dir DIR]'}", "", verb.summary, "", "examples:"]
    lines += [f"  {example}" for example in verb.examples]
    if name in ("train", "cache build") and shipped:
        lines += ["", "presets (your own: --config-dir DIR with DIR/experiment/NAME.yaml):", *shipped]
    return "\n".join([*lines, "", "keys (a value ??? must be given):", keys])


def one_line(error: BaseException) -> str | None:
    """The line that the user sees, or None where the traceback is worth more."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted: finished files are kept, half-written ones are not"
    if isinstance(error, UserError):
        return " ".join(str(error).split())
    if isinstance(error, OSError):
        return os_error_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "out of memory: choose fewer cameras, a smaller batch or a smaller size"
    return None


def os_error_line(error: OSError) -> str:
    from errno import EACCES, EDQUOT, ENOENT, ENOSPC, EPERM, EROFS

    remedies = {
        ENOSPC: "free some space or choose another folder",
        EDQUOT: "free some space or choose another folder",
        EACCES: "choose a folder and files that you may use",
        EPERM: "choose a folder and files that you may use",
        EROFS: "choose a folder that can be written",
        ENOENT: "check the path",
    }
    where = f"{error.filename}: " if error.filename else ""
    what = " ".join((error.strerror or str(error) or type(error).__name__).split())
    remedy = remedies.get(error.errno or 0)
    named = "" if where else " (WORLDMODEL_TRACEBACK=1 shows where)"
    return f"{where}{what}" + (f": {remedy}" if remedy else "") + named


if __name__ == "__main__":
    sys.exit(main())
