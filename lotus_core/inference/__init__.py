"""Pictures in, maps out: the one step, its stages, and the public `predict_` functions."""
