"""Lets the documentation recognise `Example:` in a docstring; the parser only knows the plural."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Names the section as the parser does."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
