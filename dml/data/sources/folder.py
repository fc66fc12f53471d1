"""A folder of class folders, plain or inside a zip."""

from pathlib import PurePosixPath

from dml.data.catalog import Catalog, Part, index_labels
from dml.data.sources.files import FileSource, FoundFiles, open_tree
from dml.errors import UserError

PARTS: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


class ImageFolder(FileSource):
    """A folder with one folder per class, or a zip of it, which is read without unpacking.

    Images may lie deeper inside the class folders: the class is the name of the first folder below the root. A single
    folder around the class folders is entered, and where all top folders are named train, val, validation or test,
    they are the parts of the source's own split and the classes lie inside them. Links are followed, each folder is
    read once; hidden files and files without an image's suffix are passed over.

    Args:
        root: the folder, or a `.zip` of it.
        anywhere: also take a zip whose members' names lead out of it (`../`); nothing is ever unpacked.

    Raises:
        UserError: root is missing, holds no image in a class folder, or holds one class only.

    Example:
        >>> ImageFolder("no/such/place").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no folder or zip 'no/such/place': give an existing one, for example in data.root
    """

    def __init__(self, root: str, anywhere: bool = False) -> None:
        self.root = root
        self.anywhere = anywhere

    def find(self) -> FoundFiles:
        """List the images, in sorted order, and read none of them."""
        tree = open_tree(self.root, self.anywhere)
        files = tree.images()
        parts = [PurePosixPath(name).parts for name in files]
        while parts and len({part[0] for part in parts}) == 1 and all(len(part) > 2 for part in parts):
            parts = [part[1:] for part in parts]
        tops = {part[0].lower() for part in parts if len(part) > 1}
        official = len(tops) > 1 and tops <= PARTS.keys()
        depth = 1 if official else 0
        kept = [(file, part) for file, part in zip(files, parts, strict=True) if len(part) > depth + 1]
        if not kept:
            raise UserError(f"no image in a class folder below '{self.root}': expected CLASS/IMAGE.jpg there")
        labels, class_names = index_labels([part[depth] for _, part in kept])
        files = [file for file, _ in kept]
        catalog = Catalog(
            labels=labels,
            class_names=class_names,
            names=["/".join(part) for _, part in kept],
            reader=tree.reader(files),
            parts=[PARTS[part[0].lower()] for _, part in kept] if official else [],
        )
        return FoundFiles(catalog, tree, files)
