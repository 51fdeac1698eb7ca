"""Hear what a service is told: releases that are bound, refused, and rolled back to.

Needs `pip install deedbook` for a registry in a folder, `deedbook[kafka]` for one on Kafka; DEEDBOOK_URL names
it. It tells what was decided so far, and then what comes, until Ctrl-C or a minute without news. News are told
while `deedbook project` runs somewhere.
"""

import deedbook
from deedbook.events.facts import DeploymentCreated


def main() -> None:
    """Print a line for each piece of news."""
    host = deedbook.serving.Host(service="progression-api", release="not asked for here")
    for news in host.follow(since_position=0, timeout_seconds=60):
        if isinstance(news, DeploymentCreated):
            models = ", ".join(f"{model.model}@{model.version}" for model in news.models)
            print(f"{news.release} is current, with {models} (before: {news.previous or 'nothing'})")
        else:
            print(f"{news.release} was refused: {news.reason}")
    host.close()


if __name__ == "__main__":
    main()
