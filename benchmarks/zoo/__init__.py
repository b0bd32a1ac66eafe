"""Real models and exported architectures through every backend: the table docs/models_tried.md."""
