"""The pages: what reviewers, analysts and whoever is on call look at, rendered here and in need of no script."""
