"""Prepares a recipe before anything is trained: completes it, checks it, and reports its mistakes in one line."""
