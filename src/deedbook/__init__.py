"""deedbook: a machine-learning model registry kept as an event log."""

__version__ = "0.1.0"
