"""Pretrained video models, each seen as a VAE, a velocity network and a latent geometry; one folder a model."""
