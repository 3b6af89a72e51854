"""Training: replay, trainer, pipeline, run folder."""
