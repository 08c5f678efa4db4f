"""Save a pretrained LTX-Video or Wan 2.1 with its empty prompt embedded, so that training needs no text encoder.

    python runs/keep_prompt.py Lightricks/LTX-Video-0.9.5 FOLDER

The source is a hub id or a folder in diffusers' layout, with `text_encoder` and `tokenizer`.
"""

import sys
from pathlib import Path

from worldmodel.errors import UserError
from worldmodel.files import replace_folder
from worldmodel.models.families import family_of
from worldmodel.models.open import open_backbone, open_text_encoder
from worldmodel.models.pipeline import FlowFramesPipeline


def keep_prompt(source: str, out: Path) -> None:
    """The pipeline without text encoder in the folder `out`, in the dtype of the source."""
    backbone = open_backbone(source)
    encoder, tokenizer = open_text_encoder(source, family_of(backbone))
    pipeline = FlowFramesPipeline.from_backbone(backbone, text_encoder=encoder, tokenizer=tokenizer)
    pipeline.register_modules(text_encoder=None, tokenizer=None)
    part = out.with_name(f"{out.name}.part")
    pipeline.save_pretrained(part)
    replace_folder(part, out)
    print(f"{out}: {backbone.name} with its empty prompt of {pipeline.prompt_cache.embeds.shape[1]} tokens")


if __name__ == "__main__":
    try:
        keep_prompt(sys.argv[1], Path(sys.argv[2]))
    except UserError as error:
        sys.exit(f"error: {error}")
