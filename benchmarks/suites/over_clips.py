"""suite=quality, nfe and horizon: every row predicts every clip, in any number of processes, then all is added up.

Predictions and scores are files by clip; a process takes one clip of so many, so that one process or several, killed
or not, leave the same files and hence the same results.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from accelerate import PartialState
from torch import Tensor
from tqdm import tqdm

from worldmodel.benchmarks.clips.clip_list import ClipList
from worldmodel.benchmarks.methods.method import Method, Spec
from worldmodel.benchmarks.methods.registry import open_method
from worldmodel.benchmarks.metrics.catalogue import Metrics
from worldmodel.benchmarks.suites.config import BenchmarkConfig
from worldmodel.benchmarks.suites.context import EvalContext, open_context
from worldmodel.benchmarks.suites.folder import BenchmarkFolder, RowFolder
from worldmodel.benchmarks.suites.plan import RowSpec
from worldmodel.benchmarks.suites.predictions import clip_seeds, predict_clip
from worldmodel.benchmarks.suites.results import Results
from worldmodel.benchmarks.suites.scoring import Frames, Scores, features_of, scores_of
from worldmodel.benchmarks.suites.table import ResultsTable
from worldmodel.datasets.pairs import PixelPair
from worldmodel.errors import InputError, UserError
from worldmodel.launch import launched_on_cpu
from worldmodel.measure.hashes import weights_hash


def run_over_clips(config: BenchmarkConfig, folder: BenchmarkFolder) -> Results | None:
    """Predict and score what is missing, then add up; the results are the first process', the others have none."""
    PartialState(cpu=launched_on_cpu())  # what the first state of a process is told holds for all later ones
    context = open_context(config)
    methods = fill(context, folder)
    return added_up(context, folder, methods) if PartialState().is_main_process else None


def fill(context: EvalContext, folder: BenchmarkFolder) -> dict[str, str]:
    """Predict and score what is missing; the rows that are there then, label -> method. All processes call it.

    Raises:
        InputError: every row was left out, because it lacks weights or needs other frames than the clips have; or the
            clips' data are not there. A folder in which no row was begun then goes again.
    """
    state = PartialState()
    # One process makes the folder or refuses it; the others come when it is made, and meet no half of it.
    with state.main_process_first():
        if state.is_main_process:
            folder.prepare(context.settings, context.config.resume, context.config.overwrite)
    try:
        return fill_rows(context, folder)
    except UserError:
        if state.is_main_process:
            folder.discard_unused()
        raise


def fill_rows(context: EvalContext, folder: BenchmarkFolder) -> dict[str, str]:
    """The same in a folder that is there."""
    methods: dict[str, str] = {}
    for row in context.rows:
        try:
            method = open_method(row.method, row.options)
            refuse_misfit(method.spec, context.clips, context.chunks)
        except UserError as error:
            # Published weights are rarely all on one machine: a table of the other rows is worth more than none.
            context.skipped[row.label] = str(error)
            continue
        fill_row(context, row, method, folder)
        methods[row.label] = row.method
    if not methods:
        reasons = "; ".join(f"{row.label}: {context.skipped[row.label]}" for row in context.rows)
        raise InputError(f"clips={context.clips.label}: every row was left out: {reasons}")
    return methods


def refuse_misfit(spec: Spec, clips: ClipList, chunks: int) -> None:
    """Raises `InputError` where the clips have fewer observed or future frames than the method needs."""
    observed, future = 0 if spec.sees_truth else spec.observed_frames, chunks * spec.future_frames
    given = clips.observed_frames, clips.frames - clips.observed_frames
    if observed > given[0] or future > given[1]:
        rollout = "" if chunks == 1 else f" ({chunks} chunks of {spec.future_frames})"
        raise InputError(
            f"{spec.name} needs {observed} observed and {future} future frames{rollout}, clips of {clips.label} have"
            f" {given[0]} and {given[1]}; give it other frames, or take other clips"
        )


@dataclass(frozen=True)
class RowRun:
    """One row at work.

    Attributes:
        metrics: those that can measure as many frames as the method predicts.
        truth: by extractor, where features of the true frames go that no earlier benchmark kept.
    """

    context: EvalContext
    method: Method
    folder: RowFolder
    metrics: Metrics
    truth: Mapping[str, Scores]

    def unfinished(self, numbers: list[int]) -> list[int]:
        """Those of `numbers` that are not scored, or whose true frames were not seen."""
        kept = (self.folder.scores, *self.truth.values())
        return [number for number in numbers if not all(scores.has(number) for scores in kept)]

    def clip(self, number: int, pair: PixelPair) -> None:
        """Predict and score one clip, and see its true frames; what is there is not done again."""
        future_NGCHW = pair.future_NGCHW[:, : self.method.spec.future_frames * self.context.chunks]
        for name, truth in self.truth.items():
            if not truth.has(number):
                truth.write(number, self._features(name, future_NGCHW))
        if not self.folder.scores.has(number):
            if self.folder.predictions.missing([number]):
                self._predict(number, pair)
            predicted_NGCHW, _ = self.folder.predictions.read(number)
            scores = scores_of(predicted_NGCHW, pair, self.metrics)
            for name in self.metrics.extractors:
                scores |= self._features(name, predicted_NGCHW)
            self.folder.scores.write(number, scores)

    def _predict(self, number: int, pair: PixelPair) -> None:
        context, method = self.context, self.method
        clip = context.clips.clips[number]
        method.clip_name, method.caption = clip.scene, clip.caption
        seeds = clip_seeds(context.config.seed, context.clips.sha256, number, len(pair.cameras))
        self.folder.predictions.write(number, *predict_clip(method, pair, seeds, context.chunks))

    def _features(self, name: str, frames_NGCHW: Frames) -> dict[str, Tensor]:
        return features_of(frames_NGCHW, name, self.context.metrics.extractors[name], self.context.chunks)


def fill_row(context: EvalContext, row: RowSpec, method: Method, folder: BenchmarkFolder) -> None:
    """This process' share of one row."""
    state, row_folder, spec = PartialState(), folder.row(row.label), method.spec
    pairs = context.pairs(spec.size)  # before anything is written: the data may not be there
    with state.main_process_first():
        if state.is_main_process:
            weights = {name: weights_hash(network) for name, network in method.networks.items()}
            row_folder.write_metadata(asdict(spec), weights)
    metrics = context.metrics.for_frames(spec.future_frames)
    truth = {
        name: folder.truth(spec.future_frames, spec.size, name)
        for name, extractor in metrics.extractors.items()
        if context.references.missing(extractor, spec.size, spec.future_frames)
    }
    run = RowRun(context, method, row_folder, metrics, truth)
    # By turns, not in blocks, so that the clips of a long drive fall to all processes alike.
    share = context.numbers[state.process_index :: state.num_processes]
    for number in tqdm(run.unfinished(share), desc=row.label, unit="clip", disable=not state.is_main_process):
        run.clip(number, pairs[number])
    state.wait_for_everyone()


def added_up(context: EvalContext, folder: BenchmarkFolder, methods: Mapping[str, str]) -> Results:
    """The results of the rows that are there, from the files that all processes wrote; and recordings for a look."""
    if context.config.recordings:
        from worldmodel.benchmarks.suites.recordings import write_recordings

        write_recordings(context, folder, list(methods))
    table, clips = ResultsTable(context.references, context.metrics), context.clips
    return Results(
        suite=context.config.suite,
        settings={name: context.settings[name] for name in ("seed", "chunks", "resample")},
        rows=[table.row(label, method, folder) for label, method in methods.items()],
        metrics=table.measures,
        asked=[row.label for row in context.rows],
        clips={
            "name": clips.label, "sha256": clips.sha256, "count": len(context.numbers),
            "of": len(clips), "expected": clips.expected, "notes": list(clips.notes),
        },
        skipped=context.skipped | table.skipped,
    )  # fmt: skip
