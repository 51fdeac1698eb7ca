"""The checks a policy may demand, and what it takes to write another.

    check.py       what a check is: a name, settings, what it reads, `evaluate`
    settings.py    its settings, held against a policy file and against the log
    evidence.py    what it may look at
    catalogue.py   which there are, from here and from other packages
    sentences.py   numbers and names as a reviewer reads them
    distances.py   how far two sets of predictions are apart

Each other module is one check.
"""

from deedbook.consumers.checks.catalogue import BUILT_IN, Catalogue, installed_checks
from deedbook.consumers.checks.check import Check
from deedbook.consumers.checks.evidence import Evidence
from deedbook.consumers.checks.finding import Finding
from deedbook.consumers.checks.settings import Setting, Settings

__all__ = ["BUILT_IN", "Catalogue", "Check", "Evidence", "Finding", "Setting", "Settings", "installed_checks"]
