"""The parts and choices of a pipeline, and how they are kept in a folder: strictly, and the same bit for bit."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import SchedulerMixin
from diffusers.pipelines.pipeline_utils import DiffusionPipeline

from worldmodel.backbones.backbone import Backbone
from worldmodel.backbones.components import load_component
from worldmodel.backbones.weights import align_weights
from worldmodel.conventions import Conventions, conventions_of
from worldmodel.errors import InputError
from worldmodel.files import read_json
from worldmodel.flow.guidance import Prompt
from worldmodel.flow.solvers import check_scheduler
from worldmodel.models.families import Family, family_of_class, family_of_vae

# By the name that model_index.json has of it: diffusers opens components of imported modules only.
from worldmodel.prompts import PromptCache

BY_CONVENTIONS = ("decode_timestep", "decode_noise_scale", "fixed_rate")
"""Options of a pipeline that its conventions decide where they are None."""
DIFFUSERS_LOADS = {"device_map", "max_memory", "quantization_config", "variant", "use_safetensors"}
"""Arguments of `from_pretrained` with which diffusers loads the networks as it always does."""

PipelineT = TypeVar("PipelineT", bound="SavedPipeline")


class SavedPipeline(DiffusionPipeline):
    """Networks, scheduler, prompts and choices, saved and opened as in any diffusers pipeline.

    A folder of the pretrained LTX-Video or Wan 2.1 opens too. A pipeline without text encoder uses its cached prompts.
    """

    vae: torch.nn.Module
    transformer: torch.nn.Module
    scheduler: Any
    text_encoder: Any
    tokenizer: Any
    prompt_cache: PromptCache | None
    negative_prompt_cache: PromptCache | None

    model_cpu_offload_seq: Any = "text_encoder->transformer->vae"
    _optional_components = ["text_encoder", "tokenizer", "prompt_cache", "negative_prompt_cache"]
    _exclude_from_cpu_offload = ["prompt_cache", "negative_prompt_cache"]

    def __init__(
        self,
        vae: torch.nn.Module,
        transformer: torch.nn.Module,
        scheduler: SchedulerMixin,
        text_encoder: torch.nn.Module | None = None,
        tokenizer: object | None = None,
        prompt_cache: PromptCache | None = None,
        backbone_name: str | None = None,
        default_guidance: float | None = None,
        decode_timestep: float | None = None,
        decode_noise_scale: float | None = None,
        text_length: int = 512,
        conventions: str = "paper",
        fixed_rate: float | None = None,
        negative_prompt_cache: PromptCache | None = None,
    ) -> None:
        """Raise `InputError` for a VAE of no known family or a scheduler that is not a plain flow from 1 to 0.

        Args:
            prompt_cache: the empty prompt, for use without text encoder.
            backbone_name, default_guidance: None takes the backbone's own.
            decode_timestep, decode_noise_scale: see `LTXBackbone`; None is as `conventions` say; unused by Wan.
            text_length: see `WanBackbone`; unused by LTX.
            conventions: `paper`, or `published` for what FlowC2S computes; see `worldmodel.conventions`.
            fixed_rate: frames a second that the network is told whatever the video's; None is as `conventions` say.
            negative_prompt_cache: the negative prompt of `conventions`, for use without text encoder.
        """
        super().__init__()
        conventions_of(conventions)
        self.register_modules(
            vae=vae, transformer=transformer, scheduler=scheduler, text_encoder=text_encoder, tokenizer=tokenizer,
            prompt_cache=prompt_cache, negative_prompt_cache=negative_prompt_cache,
        )  # fmt: skip
        self.register_to_config(
            backbone_name=backbone_name, default_guidance=default_guidance, decode_timestep=decode_timestep,
            decode_noise_scale=decode_noise_scale, text_length=text_length, conventions=conventions,
            fixed_rate=fixed_rate,
        )  # fmt: skip
        check_scheduler(scheduler)
        self.backbone  # noqa: B018  refuses modules that do not belong together

    @classmethod
    def from_backbone(
        cls: type[PipelineT],
        backbone: Backbone,
        scheduler: SchedulerMixin | None = None,
        text_encoder: torch.nn.Module | None = None,
        tokenizer: object | None = None,
    ) -> PipelineT:
        """The pipeline around a loaded backbone; `scheduler` None takes the backbone's own.

        The cached empty prompt is the text encoder's, where one is given here, else the backbone's.
        """
        pipeline = cls(
            backbone.vae,
            backbone.transformer,
            scheduler or backbone.default_scheduler(),
            text_encoder,
            tokenizer,
            backbone_name=backbone.name,
            default_guidance=backbone.default_guidance,
            conventions=backbone.conventions.name,
            **{option: getattr(backbone, option) for option in family_of_vae(backbone.vae).saved_options},
        )
        pipeline.register_modules(prompt_cache=PromptCache.of(*backbone.empty_prompt()))
        if text_encoder is not None and tokenizer is not None:
            pipeline.cache_empty_prompt()
        return pipeline

    @classmethod
    def from_pretrained(cls: type[PipelineT], *args: Any, **kwargs: Any) -> PipelineT:
        """As diffusers', but strict: a saved folder with a missing, stray or misshapen weight raises `InputError`.

        Weights then lie in memory as they did when saved, so that outputs are equal bit for bit. Given other
        `conventions` than the saved ones, saved options that conventions decide count no more.
        """
        folder = Path(args[0] if args else kwargs["pretrained_model_name_or_path"])
        choices = {name: kwargs.pop(name, None) for name in ("conventions", *BY_CONVENTIONS)}
        if (folder / "model_index.json").is_file():
            cls._refuse_other_design(folder)
            dtype = kwargs.get("dtype") or kwargs.get("torch_dtype") or torch.float32
            if isinstance(dtype, torch.dtype) and not kwargs.keys() & DIFFUSERS_LOADS:
                kwargs |= load_networks(folder, kwargs.keys(), dtype)
        pipeline: PipelineT = super().from_pretrained(*args, **kwargs)
        for component in pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                align_weights(component)
        return pipeline.following(**choices)

    @classmethod
    def _refuse_other_design(cls, folder: Path) -> None:
        """Refuse what this class must not open; here nothing."""

    def following(self: PipelineT, conventions: str | None = None, **options: float | None) -> PipelineT:
        """This pipeline, which keeps to other conventions from now on; None is as they are.

        `options` are single choices among them: decode_timestep, decode_noise_scale, fixed_rate. Those that are not
        given are as the new conventions say.
        """
        for name in options.keys() - set(BY_CONVENTIONS):
            raise InputError(f"{name}: conventions decide no such option; use {', '.join(BY_CONVENTIONS)}")
        changed: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if conventions is not None and conventions_of(conventions) is not self.conventions:
            changed = dict.fromkeys(BY_CONVENTIONS) | {"conventions": conventions} | changed
        if changed:
            self.register_to_config(**changed)
        return self

    def cache_empty_prompt(self) -> None:
        """Keep the text encoder's empty prompt, and the negative one of the conventions where they have one.

        Both are components; the encoder may then be dropped before saving.
        """
        if self.text_encoder is None or self.tokenizer is None:
            raise InputError("cache_empty_prompt: load text_encoder and tokenizer first")
        # Not by assignment: diffusers keeps a component that was None out of model_index.json then.
        texts = {"prompt_cache": "", "negative_prompt_cache": self.conventions.sampling.negative_prompt}
        for name, text in texts.items():
            if text is not None:
                prompt = self.embed([text])
                self.register_modules(**{name: PromptCache.of(prompt.embeds_BLD, prompt.mask_BL)})

    def embed(self, texts: list[str]) -> Prompt:
        """`texts` by this pipeline's text encoder, as its family was trained on them."""
        text_length: int = self.config["text_length"]
        return self.family.embed(texts, self.text_encoder, self.tokenizer, self._execution_device, text_length)

    @property
    def family(self) -> Family:
        """The family of the VAE's class."""
        return family_of_vae(self.vae)

    @property
    def conventions(self) -> Conventions:
        """What a prediction follows where it is not told otherwise."""
        return conventions_of(self.config["conventions"])

    def network_rate(self, frame_rate: float) -> float:
        """Frames a second that the network is told of a video with `frame_rate`."""
        fixed: float | None = self.config["fixed_rate"] or self.conventions.sampling.frame_rate
        return frame_rate if fixed is None else fixed

    @property
    def backbone(self) -> Backbone:
        """The components seen as a `Backbone`; made anew at each use, since components may be exchanged."""
        family, cache = self.family, self.prompt_cache
        make_backbone: Any = family.backbone
        backbone: Backbone = make_backbone(
            self.vae,
            self.transformer,
            empty_prompt_embeds=None if cache is None else cache.embeds.data,
            empty_prompt_mask=None if cache is None or cache.mask is None else cache.mask.data,
            conventions=self.conventions,
            **{option: self.config[option] for option in family.saved_options},
        )
        backbone.name = self.config["backbone_name"] or backbone.name
        if self.config["default_guidance"] is not None:
            backbone.default_guidance = self.config["default_guidance"]
        return backbone


def load_networks(folder: Path, given: Collection[str], dtype: torch.dtype) -> dict[str, Any]:
    """VAE and transformer of a diffusers pipeline folder by name, those of known classes that are not `given`.

    diffusers itself would fill what is missing with random numbers and say so in a warning. Raises `InputError` where
    one is not there or does not fit.
    """
    listed, networks = read_json(folder / "model_index.json"), {}
    parts: tuple[Any, ...] = ("transformer", "vae")
    for part in parts:
        entry = listed.get(part)
        family = family_of_class(part, entry[1]) if isinstance(entry, list) and len(entry) == 2 else None
        if part in given or family is None:
            continue
        if not (folder / part).is_dir():
            raise InputError(f"{folder}: has no {part}/ in it; save the pipeline again")
        networks[part] = load_component(getattr(family, part), folder / part, dtype)
    return networks


def design_of(folder: Path) -> str | None:
    """The class of pipeline that this package saved into `folder`; None for a folder of others."""
    index = read_json(folder / "model_index.json")
    return str(index.get("_class_name")) if "backbone_name" in index else None


def words_of(class_name: str) -> list[str]:
    """`NoiseConditionedPipeline` is noise, conditioned."""
    return [word.lower() for word in re.findall("[A-Z][a-z0-9]*", class_name.removesuffix("Pipeline"))]
