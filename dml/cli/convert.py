"""`dml convert`: write a folder, a zip or a table of images into one Lance table, on disk or in a bucket."""

import argparse

from dml.cli.shared.options import Parser
from dml.errors import UserError, printable

EXAMPLES = """examples:
  dml convert photos --to photos.lance            then: dml fit --data.root photos.lance --data.image_size 64
  dml convert table.csv --to s3://bucket/photos.lance
                                                  if stopped half-way, the same command continues
"""
_SHOWN = 3


def main(arguments: list[str]) -> int:
    """Convert; return 0, or 1 if some files cannot be read."""
    options = build_parser().parse_args(arguments)
    if not options.to.rstrip("/").endswith(".lance"):
        raise UserError(f"--to {options.to}: give a name that ends in .lance")

    from dml.data.sources.convert import convert_files  # loads torch, which --help must not
    from dml.data.sources.folder import ImageFolder
    from dml.data.sources.manifest import Manifest

    table = options.images.lower().endswith((".csv", ".parquet"))
    source = (Manifest if table else ImageFolder)(options.images, anywhere=options.anywhere)
    found = source.find()
    done = convert_files(found, options.to, options.on_error)
    went_on = f", {done.before:,} of them were there" if done.before else ""
    print(printable(f"{options.to}: {done.images:,} images of {len(found.catalog.class_names):,} classes{went_on}"))
    if done.unreadable:
        names = ", ".join(done.unreadable[:_SHOWN]) + (", …" if len(done.unreadable) > _SHOWN else "")
        print(printable(f"{len(done.unreadable)} files cannot be read: {names}; train with data.on_error=skip"))
    return 1 if done.unreadable else 0


def build_parser() -> Parser:
    """Return the parser of the verb's own options."""
    parser = Parser(
        prog="dml convert",
        description="Write image files into one Lance table, which is read by row (needs the extra dml[lance]).",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("images", metavar="PATH", help="a folder of class folders, a zip of one, a .csv or .parquet")
    parser.add_argument("--to", required=True, metavar="FILE", help="NAME.lance, or an address: s3://bucket/NAME.lance")
    told = "at an unreadable file: stop (raise), or leave its row without an image (skip)"
    parser.add_argument("--on_error", choices=("raise", "skip"), default="raise", help=told)
    parser.add_argument("--anywhere", action="store_true", help="allow paths that lead out of the table's folder")
    return parser
