"""What acts on the log: the announcer, and validation with its checks."""
