"""Serve the model that this release is bound to, and no other.

Needs `pip install 'deedbook[server,sklearn]'`, and a release that is bound to a training that
`log_a_training.py` logged. The release is DEEDBOOK_RELEASE, else the commit that is checked out here.
"""

from sklearn.datasets import load_diabetes

import deedbook


def main() -> None:
    """Load the model, and answer one request with it."""
    host = deedbook.serving.Host(service="progression-api")
    model = host.load("diabetes-progression")

    (bound,) = [found for found in host.deployment.models if found.model == "diabetes-progression"]
    print(f"release {host.release} serves {bound.model} version {bound.version} ({bound.training_id})")

    inputs, _ = load_diabetes(return_X_y=True, as_frame=True)
    print(f"a prediction: {model.predict(inputs[:1])[0]:.1f}")
    host.close()


if __name__ == "__main__":
    main()
