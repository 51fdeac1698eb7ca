"""Train a model and log it: parameters, metrics step by step and at the end, and the model itself.

Needs `pip install 'deedbook[sklearn]'`. Run it twice, then look: `deedbook trainings`.
"""

from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, mean_squared_error
from sklearn.model_selection import train_test_split

import deedbook


def main() -> None:
    """Fit a ridge regression for several strengths, and keep the best."""
    inputs, target = load_diabetes(return_X_y=True, as_frame=True)
    fit_inputs, test_inputs, fit_target, test_target = train_test_split(inputs, target, random_state=0)

    with deedbook.connect() as registry:
        with registry.training("diabetes-progression", parameters={"dataset": "diabetes"}) as training:
            candidates = []
            for step, alpha in enumerate((0.01, 0.1, 1.0, 10.0)):
                model = Ridge(alpha=alpha).fit(fit_inputs, fit_target)
                mse = mean_squared_error(test_target, model.predict(test_inputs))
                training.log_metric("mse", mse, step=step)
                candidates.append((mse, alpha, model))
            mse, alpha, model = min(candidates, key=lambda candidate: candidate[0])
            training.log_parameter("alpha", alpha)
            training.log_metric("mse", mse, direction="lower")
            mae = mean_absolute_error(test_target, model.predict(test_inputs))
            training.log_metric("mae", mae, direction="lower")
            training.save(model)
        print(f"logged training {training.training_id}: alpha {alpha}, mse {mse:.1f}")


if __name__ == "__main__":
    main()
