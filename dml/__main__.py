"""Lets `python -m dml VERB` reach the front door."""

from dml.cli import main

raise SystemExit(main())
