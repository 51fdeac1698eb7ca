"""What deedbook is compared with: other people's registries, each in an environment of its own.

A peer is a module that is run as `python -m peers.NAME PHASE ...` in its environment, with `benchmarks/` as the
current folder. Every phase is a process of its own, prints one line of JSON per measure and leaves its store behind
for the next: `import`, `log` (an empty store), `fill` (up to n trainings), `chart` and `search` (over those).
"""
