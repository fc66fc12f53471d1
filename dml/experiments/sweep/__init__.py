"""Sweeps: values of any keys of a recipe, tried as trials."""
