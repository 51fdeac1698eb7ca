"""What an event points at: content-addressed files, model formats, request sets."""
