"""What is done to a recipe before anything is trained: completed, checked, and its mistakes told in one line."""
