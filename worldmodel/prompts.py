"""The name under which model_index.json of a saved pipeline knows the cached prompt: part of the file format.

diffusers opens a component of a module that is imported, and looks in that module for the component's base class.
"""

from diffusers import ModelMixin

from worldmodel.models.prompts import PromptCache

__all__ = ["ModelMixin", "PromptCache"]
