"""What can happen: the facts, their Avro schemas and codec, and the log."""
