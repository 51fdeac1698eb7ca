"""deedbook's own benchmarks, each with the limit it is held against."""
