"""Training: replay buffer, trainer, pipeline, run folder."""
