"""What the command line does, by name: the table of verbs, standard library only."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Verb:
    """One thing the command line does.

    Attributes:
        summary: one line for the list of verbs.
        config: ``module:Class`` of the plain dataclass with its keys.
        function: ``module:name`` of the function that takes that dataclass.
        examples: commands that can be pasted.
        positional: keys whose values may be given as bare words, in this order; one may end in ``...`` and takes all
            words that are over.
        presets: whether ``experiment=NAME`` may be said; Hydra is loaded for such a verb alone.
    """

    summary: str
    config: str
    function: str
    examples: tuple[str, ...]
    positional: tuple[str, ...] = ()
    presets: bool = False

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
        "worldmodel.cli.commands.cache_build:CacheBuildConfig",
        "worldmodel.cli.commands.cache_build:build_cache",
        (
            "worldmodel cache build experiment=tiny pretrained=tiny_base",
            "worldmodel cache build experiment=tiny pretrained=tiny_base task=0 tasks=8",
        ),
        presets=True,
    ),
    "cache look": Verb(
        "decode some pairs of a latent cache into a picture",
        "worldmodel.cli.commands.cache_look:CacheLookConfig",
        "worldmodel.cli.commands.cache_look:look_into_cache",
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
        presets=True,
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
        "worldmodel.benchmarks.clips.registry:ClipsConfig",
        "worldmodel.cli.commands.benchmark_clips:clips",
        (
            "worldmodel benchmark clips list=toyworld-val root=data/toyworld",
            "worldmodel benchmark clips list=vista-val root=/datasets/nuscenes check=true",
        ),
    ),
    "benchmark compare": Verb(
        "say what differs between two benchmarks, in settings first and then in numbers",
        "worldmodel.cli.commands.benchmark_compare:CompareConfig",
        "worldmodel.cli.commands.benchmark_compare:compare",
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
        "worldmodel.cli.commands.export_run:RunConfig",
        "worldmodel.cli.commands.export_run:run",
        (
            "worldmodel export run artifacts/tiny drive.mp4 future.mp4",
            "worldmodel export run artifacts/rig front.mp4 left.mp4 right.mp4 outputs/future chunks=2 feed=latents",
        ),
        positional=("artifact", "videos...", "out"),
    ),
    "export verify": Verb(
        "compare an artifact with its pipeline, part by part and from frames to frames",
        "worldmodel.cli.commands.export_verify:VerifyConfig",
        "worldmodel.cli.commands.export_verify:verify",
        (
            "worldmodel export verify artifacts/tiny source=data/toyworld",
            "worldmodel export verify artifacts/ltx prompt_embeds=prompt.safetensors 'steps=[5]' backend=tensorrt",
        ),
        positional=("artifact",),
    ),
    "export check": Verb(
        "say whether an artifact will build for a chip: rules, and NVIDIA's own builder where installed, without a GPU",
        "worldmodel.cli.commands.export_check:CheckConfig",
        "worldmodel.cli.commands.export_check:check",
        (
            "worldmodel export check artifacts/tiny target=orin",
            "worldmodel export check artifacts/ltx-fp8 target=thor 'parts=[step]'",
        ),
        positional=("artifact",),
    ),
    "export build": Verb(
        "build TensorRT engines of an artifact on the machine that will run them; needs no torch",
        "worldmodel.cli.commands.export_build:BuildConfig",
        "worldmodel.cli.commands.export_build:build",
        (
            "worldmodel export build artifacts/tiny",
            "worldmodel export build artifacts/ltx workspace_gb=2",
        ),
        positional=("artifact",),
    ),
    "export bench": Verb(
        "time an artifact's parts and predictions on this machine, beside torch and beside other precisions",
        "worldmodel.export.bench.config:BenchConfig",
        "worldmodel.cli.commands.export_bench:bench",
        (
            "worldmodel export bench artifacts/ltx-fp32 artifacts/ltx-int8",
            "worldmodel export bench artifacts/tiny 'backends=[onnxruntime,tensorrt]' out=outputs/bench",
            "worldmodel export bench artifacts/ltx-fp16 device=cuda 'backends=[eager,compile,onnxruntime,tensorrt]'",
        ),
        positional=("artifacts...",),
    ),
    "export budget": Verb(
        "say what a chip cannot beat for a size, steps and cameras, from FLOPs and bytes",
        "worldmodel.export.budget:BudgetConfig",
        "worldmodel.cli.commands.export_budget:budget",
        (
            "worldmodel export budget family=ltx frames=17 height=256 width=384 steps=5 cameras=6",
            "worldmodel export budget family=wan precision=int8 'chip=[Orin]'",
            "worldmodel export budget artifact=artifacts/tiny",
        ),
    ),
    "view": Verb(
        "open, save or serve a Rerun recording of a rollout",
        "worldmodel.cli.commands.view:ViewConfig",
        "worldmodel.cli.commands.view:view",
        (
            "worldmodel view path=outputs/demo/rollout.rrd",
            "worldmodel view path=outputs/demo/rollout.rrd mode=serve port=9090",
        ),
    ),
}
