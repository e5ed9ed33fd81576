"""From labelled windows to a trained network: fitting, folds, splits, scaling, priors, tuning."""
