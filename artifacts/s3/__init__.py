"""Artifacts in S3: one adapter of the contract in `deedbook.artifacts.store`."""
