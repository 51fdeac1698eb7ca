"""Where models are run that nobody has vouched for yet.

sandbox.py      the worker's front door: verify, run, answer
fork_server.py  the worker's end of the fork server; answers.py reads what came of a job
server.py       the fork server; surroundings.py are its namespaces and its root of libraries
child.py        one process for each job; confinement.py is what it gives up first
attempts.py     reasons for reviewers; probes.py and self_test.py try at start-up what is forbidden
"""

from deedbook.consumers.sandbox.outcome import Failure, Isolation, Kind, Limits, Predictions
from deedbook.consumers.sandbox.sandbox import Sandbox

__all__ = ["Failure", "Isolation", "Kind", "Limits", "Predictions", "Sandbox"]
