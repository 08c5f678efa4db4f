"""A model and what surrounds it: pipelines, prompts, and the one way in which every verb opens a checkpoint."""
