"""Training, and the procedural scenes it learns from (extra `train`)."""
