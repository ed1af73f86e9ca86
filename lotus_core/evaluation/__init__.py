"""The field's benchmark protocols (extra `train`)."""
