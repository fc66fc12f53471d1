"""Makes `python -m dml VERB` and the command `dml VERB` work."""

from typing import NoReturn

from dml.cli import main
from dml.cli.leaving import leave


def run() -> NoReturn:
    """Run the verb of the process's command line and end the process."""
    leave(main())


if __name__ == "__main__":
    run()
