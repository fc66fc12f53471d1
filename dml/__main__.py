"""Makes `python -m dml VERB` work."""

from dml.cli import main

raise SystemExit(main())
