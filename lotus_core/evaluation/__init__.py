"""The field's benchmark protocols: readers, alignment, metrics and tables. Never imported by inference."""
