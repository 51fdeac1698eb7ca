"""The composition root: settings, wiring, and the ``deedbook`` command."""
