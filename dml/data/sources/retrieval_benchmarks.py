"""The benchmarks of deep metric learning, read from their original layouts, split as in the literature.

The test part holds classes that training has not seen.
"""

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dml import runs
from dml.data.catalog import Catalog, Part, index_labels
from dml.data.sources.bounds import damage_told, leads_outside
from dml.data.sources.files import FileSource, Folder, FoundFiles
from dml.errors import UserError


def list_samples(
    root: Path,
    names: list[str],
    keys: list[str],
    parts: list[Part],
    is_query: NDArray[np.bool_] | None = None,
) -> FoundFiles:
    """List files with a class-disjoint split of their own."""
    tree = Folder(root)
    if outside := [name for name in names if leads_outside(name)]:  # links are of whoever unpacked it
        raise UserError(f"the lists of '{root}' name files outside, first '{outside[0]}': unpack the original archive")
    labels, class_names = index_labels(keys)
    catalog = Catalog(
        labels=labels,
        class_names=class_names,
        names=names,
        reader=tree.reader(names),
        parts=parts,
        is_query=is_query,
        is_reference=None if is_query is None else ~is_query,
    )
    return FoundFiles(catalog, tree, names)


def find_root(root: str, folder: str, marker: str, hint: str) -> Path:
    """Find the folder that holds `marker`: the root itself or the archive's own folder inside it."""
    base = Path(root).expanduser()
    for path in (base, base / folder):
        if (path / marker).is_file():
            return path
    raise UserError(f"no '{marker}' in '{root}' or '{root}/{folder}': {hint}")


def read_words(path: Path) -> list[list[str]]:
    """Read the lines of a text file as lists of words; empty lines are left out."""
    return [line.split() for line in runs.read_bytes(path).decode().splitlines() if line.strip()]


def first_half(numbers: Iterable[int], train_classes: int) -> list[Part]:
    """Classes 1..train_classes train, the others test."""
    return ["train" if number <= train_classes else "test" for number in numbers]


class CUB200(FileSource):
    """CUB-200-2011: 11,788 birds of 200 species; the first 100 train, the other 100 test.

    Args:
        root: what `CUB_200_2011.tgz` unpacks to (or the folder around it): `images.txt`, `image_class_labels.txt`,
            `classes.txt` and `images/`.

    Source: C. Wah et al., "The Caltech-UCSD Birds-200-2011 Dataset", 2011; the split: H. O. Song et al., "Deep metric
        learning via lifted structured feature embedding", 2016.

    Example:
        >>> CUB200("no/such").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no 'images.txt' in 'no/such' or 'no/such/CUB_200_2011': unpack CUB_200_2011.tgz there
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self) -> FoundFiles:
        """Read the lists."""
        with damage_told(f"a list in '{self.root}'", "unpack CUB_200_2011.tgz again"):
            root = find_root(self.root, "CUB_200_2011", "images.txt", "unpack CUB_200_2011.tgz there")
            paths = {words[0]: words[1] for words in read_words(root / "images.txt")}
            classes = {number: int(label) for number, label in read_words(root / "image_class_labels.txt")}
            class_names = {int(number): name for number, name in read_words(root / "classes.txt")}
            numbers = [classes[number] for number in paths]
            names = [f"images/{path}" for path in paths.values()]
            return list_samples(root, names, [class_names[n] for n in numbers], first_half(numbers, 100))


_READ_CARS = """
import json, sys
import numpy as np
from scipy.io import loadmat
table = loadmat(sys.stdin.buffer, squeeze_me=True)
rows = np.atleast_1d(table["annotations"])
names, numbers = [str(row["relative_im_path"]) for row in rows], [int(row["class"]) for row in rows]
print(json.dumps([names, numbers, [str(name) for name in np.atleast_1d(table["class_names"])]]))
"""


def read_cars(path: Path) -> tuple[list[str], list[int], list[str]]:
    """Read file names, class numbers (from 1 on) and class names; by another process, for damage may crash scipy.

    Raises:
        ValueError: the file is damaged.
    """
    with runs.open_file(path) as file:
        done = subprocess.run(
            [sys.executable, "-c", _READ_CARS], stdin=file, capture_output=True, timeout=60, check=False
        )
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip().splitlines()
        raise ValueError(told[-1] if told and done.returncode > 0 else f"'{path.name}' is damaged")
    names, numbers, class_names = json.loads(done.stdout)
    if numbers and not 1 <= min(numbers) <= max(numbers) <= len(class_names):
        raise ValueError(f"classes {min(numbers)} to {max(numbers)}, but {len(class_names)} names")
    return names, numbers, class_names


class Cars196(FileSource):
    """Cars196: 16,185 cars of 196 models; the first 98 train, the other 98 test.

    Args:
        root: the folder that holds `cars_annos.mat` and `car_ims/` (the authors' joint archive of all images).

    Source: J. Krause et al., "3D Object Representations for Fine-Grained Categorization", 2013; split as for CUB200.

    Example:
        >>> Cars196("no/such").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no 'cars_annos.mat' in 'no/such' or 'no/such/cars196': put cars_annos.mat and
        car_ims there
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self) -> FoundFiles:
        """Read the annotations."""
        with damage_told(f"a list in '{self.root}'", "fetch cars_annos.mat again"):
            root = find_root(self.root, "cars196", "cars_annos.mat", "put cars_annos.mat and car_ims there")
            names, numbers, class_names = read_cars(root / "cars_annos.mat")
            # class names repeat models of other years almost literally, so the number stays in front
            keys = [f"{number:03d} {class_names[number - 1]}" for number in numbers]
            return list_samples(root, names, keys, first_half(numbers, 98))


class StanfordOnlineProducts(FileSource):
    """Stanford Online Products: 120,053 photographs of 22,634 things on sale; 11,318 of them train, the others test.

    Args:
        root: what `Stanford_Online_Products.zip` unpacks to (or the folder around it), with `Ebay_train.txt` and
            `Ebay_test.txt`.

    Source: H. O. Song et al., "Deep metric learning via lifted structured feature embedding", 2016.

    Example:
        >>> StanfordOnlineProducts("no/such").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no 'Ebay_train.txt' in 'no/such' or 'no/such/Stanford_Online_Products': unpack
        Stanford_Online_Products.zip there
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self) -> FoundFiles:
        """Read both lists."""
        with damage_told(f"a list in '{self.root}'", "unpack Stanford_Online_Products.zip again"):
            hint = "unpack Stanford_Online_Products.zip there"
            root = find_root(self.root, "Stanford_Online_Products", "Ebay_train.txt", hint)
            names: list[str] = []
            keys: list[str] = []
            parts: list[Part] = []
            lists: list[tuple[str, Part]] = [("Ebay_train.txt", "train"), ("Ebay_test.txt", "test")]
            for file, part in lists:
                for _, label, _, path in read_words(root / file)[1:]:  # below a header line
                    names.append(path)
                    keys.append(f"{int(label):05d}")
                    parts.append(part)
            return list_samples(root, names, keys, parts)


class InShop(FileSource):
    """In-Shop Clothes Retrieval: 52,712 photographs of 7,982 garments; 3,997 train, 3,985 test as queries and gallery.

    The gallery is the reference set; queries are searched in it alone.

    Args:
        root: the folder that holds `Eval/list_eval_partition.txt` (or that file itself) and `Img/img/` (or `img/`).

    Source: Z. Liu et al., "DeepFashion: Powering Robust Clothes Recognition and Retrieval with Rich Annotations", 2016.

    Example:
        >>> InShop("no/such").open()
        Traceback (most recent call last):
        ...
        dml.errors.UserError: no 'list_eval_partition.txt' in 'no/such' or 'no/such/Eval': unpack the In-Shop
        benchmark's Eval and Img there
    """

    def __init__(self, root: str) -> None:
        self.root = root

    def find(self) -> FoundFiles:
        """Read the partition."""
        with damage_told(f"a list in '{self.root}'", "unpack the In-Shop benchmark's Eval again"):
            hint = "unpack the In-Shop benchmark's Eval and Img there"
            table = find_root(self.root, "Eval", "list_eval_partition.txt", hint) / "list_eval_partition.txt"
            root = Path(self.root).expanduser()
            root = root / "Img" if (root / "Img").is_dir() else root
            rows = read_words(table)[2:]  # below the count and a header line
            roles = [role for _, _, role in rows]
            if unknown := set(roles) - {"train", "query", "gallery"}:
                raise UserError(f"'{table}' holds the part '{min(unknown)}': expected train, query or gallery")
            parts: list[Part] = ["train" if role == "train" else "test" for role in roles]
            query = np.array([role == "query" for role in roles])
            return list_samples(root, [name for name, _, _ in rows], [item for _, item, _ in rows], parts, query)
