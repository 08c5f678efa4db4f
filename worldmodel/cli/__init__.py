"""Hydra presets (YAML) and the few modules that know Hydra; the rest of the package takes plain dataclasses."""
