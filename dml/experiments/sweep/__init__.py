"""Sweeps: values of any keys of a recipe, tried as trials."""

# by which a trial's own process learns of its study; not a file, as the address may hold a password
TRIAL_VARIABLE = "DML_SWEEP_TRIAL"
