"""The datamodule of images: any source, split, sampler and transform behind Lightning's hooks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dml.data.catalog import Catalog, GroupRule, Source
from dml.data.embedding_table import EmbeddingTable
from dml.data.handover import prepare_once
from dml.data.images.cache import FORM, cache_folder
from dml.data.images.flaws import OnFlaw, look_over
from dml.data.images.open import open_pixels
from dml.data.images.pixels import Pixels
from dml.data.labelled_data import LabelledData, Scale
from dml.data.loader import BatchLoader
from dml.data.ranges import check_ranges
from dml.data.samplers.base import EpochBatches
from dml.data.samplers.choose import training_batches
from dml.data.samplers.ordered import OrderedBatches
from dml.data.samplers.wrapped import SamplerCallable
from dml.data.sources.detect import choose_source
from dml.data.sources.files import FileSource, FoundFiles
from dml.data.splits.assign import assign_parts
from dml.data.splits.splits import Parts, Split, queries_and_references, split_hash
from dml.data.texts import texts_at
from dml.data.transforms.base import ViewTransform
from dml.errors import UserError
from dml.functional.distributed import world_size

Indices = NDArray[np.int64]


class _Prepared(NamedTuple):
    """What the images, their labels and the settings come to; it can be handed to another process."""

    catalog: Catalog
    pixels: Pixels
    unreadable: list[int]
    flawed: list[int]
    parts: Parts
    unlabelled: Indices
    split_hash: str


@final
class ImageData(LabelledData):
    """Labelled images of any kind, split, batched, transformed and normalised.

    After `setup`, these tell what was found: `image_shape` (C, H, W), `class_names`, `num_classes`, `split_hash`,
    `catalog` (what the source holds), `parts` (positions of train, val and test in it) and `unlabelled` (training
    images left out by `labelled_per_class` or `labelled_share`).

    Loaders yield `Batch`. Training: transformed, in random or class-balanced batches, or those of `sampler`. Validation
    and test: a list of two loaders, queries and references (the training images, untransformed, in order), or of
    queries alone where training has none of their classes (they are then searched among themselves); a source that
    marks queries and references has its way. Where several processes train, each gets its share of all batches.
    `state_dict` of the training loader holds (epoch, position), so a resume in the middle of an epoch goes on with
    exactly the batches that were left.

    Args:
        root: a folder of class folders, a zip of one, a .csv or .parquet manifest, an .npz of arrays, a .lance table or
            an address of one (`s3://…`); None without a source: the digits of scikit-learn.
        source: where images come from; set this or root.
        image_size: side in pixels, or (height, width); the shorter side is resized to fit (bilinear, antialiased), then
            the centre is cut out; at most 10,000. None: the size of the first image, if at most 512.
        channels: 1 (grey) or 3 (RGB); None: what the source's images are.
        split: divides samples into train, val and test; None: the source's own split if it has one (`OfficialSplit`),
            else a fifth each for val and test, stratified (`DefaultSplit`).
        labelled_per_class: train on this many images of each class, drawn by the seed, a smaller number's among a
            larger one's; val and test stay as they are. None: on the share below.
        labelled_share: train on this share of each class, in (0, 1], drawn likewise; 1.0: on all.
        batch_size: training images per step, of all processes together.
        classes_per_batch: distinct classes in a training batch, batch_size / classes_per_batch images each; every image
            is visited in an epoch. "auto": all classes there are, or batch_size // 4 where that is less, with as many
            images of each as batch_size has room for. None: batches drawn at random.
        scale_batch_size: every process gets `batch_size` images: the more processes, the more images a step sees and
            the fewer steps an epoch has. Otherwise they share them, and training stays what one process does.
        drop_last: leave out the last batch where it is smaller.
        sampler: any torch sampler by its class_path, built from the labels (N,) of the training images and yielding
            positions or lists of them for an epoch; its draws are seeded by (seed, epoch). `batch_size` cuts positions
            where the sampler has no batch_size of its own. None: batches as the keys above say.
        transform: random changes to batches of training images: `Augmentation`, or any nn.Module on float32 images
            (B, C, H, W) within 0..1, of torchvision.transforms.v2 or kornia, say; its draws are seeded by the batch's
            address, so a resume is exact. None: none.
        mean: subtracted from pixels scaled to 0..1; one number, or one per channel.
        std: what is divided by afterwards. The defaults give pixels / 127.5 - 1.
        eval_batch_size: images per step in validation, test and prediction.
        on_error: "raise" at the first unreadable image, or "skip": leave unreadable images out and say how many.
        on_flaw: "tell" in one line how many images are of one colour, repeat another one of their class or equal one of
            another class (if memory holds them, up to 1 GiB); "skip": leave these out, the first of a class's equal
            ones kept; "raise": refuse them; "keep": do not look.
        workers: threads or processes that decode; affects only the time. None: one per core, at most 8.
        memory_limit: GiB; what decodes to no more is held in memory (on the training device where it fits there),
            anything larger is decoded batch by batch by workers, whose batches ahead take no more than this either.
            Both give the same batches. 0: nothing is held, and four batches are decoded ahead for every worker.
        cache: keep what was decoded into memory on disk, keyed by content, for the next start.
        cache_dir: where; None: $DML_CACHE or ~/.cache/dml.
        seed: of the split, the batches and the transform.

    Raises:
        UserError: a number is out of range; on `setup` or the first loader, anything else a user can fix.

    Example:
        >>> from dml.data import StratifiedSplit
        >>> data = ImageData(split=StratifiedSplit(val=120, test=0), batch_size=50, classes_per_batch=10)
        >>> data.setup("fit")
        >>> data.image_shape, data.num_classes
        ((1, 8, 8), 10)
        >>> next(iter(data.train_dataloader())).images.shape
        torch.Size([50, 1, 8, 8])
    """

    catalog: Catalog
    parts: Parts
    pixels: Pixels
    embedded: EmbeddingTable  # empty until a module with a frozen encoder fills it

    def __init__(
        self,
        root: str | None = None,
        source: Source | None = None,
        image_size: int | tuple[int, int] | None = None,
        channels: Literal[1, 3] | None = None,
        split: Split | None = None,
        labelled_per_class: int | None = None,
        labelled_share: float = 1.0,
        batch_size: int = 128,
        classes_per_batch: int | Literal["auto"] | None = None,
        scale_batch_size: bool = False,
        drop_last: bool = False,
        sampler: SamplerCallable | None = None,
        transform: nn.Module | None = None,
        mean: float | list[float] = 0.5,
        std: float | list[float] = 0.5,
        eval_batch_size: int = 512,
        on_error: Literal["raise", "skip"] = "raise",
        on_flaw: OnFlaw = "tell",
        workers: int | None = None,
        memory_limit: float = 4.0,
        cache: bool = True,
        cache_dir: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_ranges(image_size, batch_size, eval_batch_size, workers, memory_limit, mean, std, seed)
        self.root = root
        self.source = source
        self.image_size = image_size
        self.channels = channels
        self.split = split
        self.labelled_per_class = labelled_per_class
        self.labelled_share = labelled_share
        self.batch_size = batch_size
        self.classes_per_batch = classes_per_batch
        self.scale_batch_size = scale_batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.transform = transform
        self.mean = mean
        self.std = std
        self.eval_batch_size = eval_batch_size
        self.on_error = on_error
        self.on_flaw: OnFlaw = on_flaw
        self.workers = workers
        self.memory_limit = memory_limit
        self.cache = cache
        self.cache_dir = cache_dir
        self.seed = seed
        self._listed: FoundFiles | Catalog | None = None
        self._ready = self._handed_over = False
        self._device = torch.device("cpu")

    def count_labels(self) -> int:
        """Return `num_labels` of the source; nothing is decoded, and of files nothing is read."""
        source = choose_source(self.root, self.source)
        self._listed = source.find() if isinstance(source, FileSource) else source.open()
        return self._labels_of(self._listed.catalog if isinstance(self._listed, FoundFiles) else self._listed)

    def setup(self, stage: str = "fit") -> None:
        """Find, split and decode the images; a second call does nothing.

        Where several processes train, the first of each machine does so when Lightning calls this in all of them, and
        the others take over what it found.

        Args:
            stage: Lightning's name of what follows; all of them need the same.
        """
        together = self.trainer is not None and world_size() > 1
        if self._ready and (self._handed_over or not together):
            return
        self._handed_over = together
        found = prepare_once(self._prepare, self.trainer)
        self.catalog, self.pixels, self.parts = found.catalog, found.pixels, found.parts
        self.unreadable, self.flawed, self.unlabelled = found.unreadable, found.flawed, found.unlabelled
        self.split_hash = found.split_hash
        self.embedded = EmbeddingTable(len(self.catalog))
        self.image_shape = self.pixels.shape
        self.class_names = self.catalog.class_names
        self._ready, self._listed = True, None

    def _prepare(self) -> _Prepared:
        """Find out all that takes reading, unless that was done."""
        if self._ready:
            known = (self.unreadable, self.flawed, self.parts, self.unlabelled, self.split_hash)
            return _Prepared(self.catalog, self.pixels, *known)
        listed = self._listed or choose_source(self.root, self.source).open()
        catalog = listed.with_fingerprint() if isinstance(listed, FoundFiles) else listed
        size = (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size
        pixels, unreadable = open_pixels(
            catalog,
            size,
            self.channels or catalog.channels,
            workers=self.workers,
            skip=self.on_error == "skip",
            memory_limit=self.memory_limit,
            cache=cache_folder(self.cache_dir) if self.cache else None,
            batch_size=max(self.batch_size, self.eval_batch_size),
        )
        flawed = look_over(pixels, catalog, unreadable, self.on_flaw)
        parts, unlabelled = assign_parts(
            catalog, self.split, self.labelled_per_class, self.labelled_share, self.seed, [*unreadable, *flawed]
        )
        return _Prepared(catalog, pixels, unreadable, flawed, parts, unlabelled, split_hash(catalog, parts))

    def train_dataloader(self) -> BatchLoader:
        """Serve this process's share of the transformed training batches."""
        progress = None
        if self.trainer is not None:
            progress = self._batches_done
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        train = self.parts.train
        labels = self.catalog.labels[train]
        size = self.batch_size * (ranks if self.scale_batch_size else 1)
        batches = training_batches(
            labels, size, self.classes_per_batch, self.drop_last, self.seed, rank, ranks, self.sampler
        )
        return self._loader(train, batches, self.transform, progress)

    def _batches_done(self) -> int:
        assert self.trainer is not None
        # Lightning counts a batch as processed once its step is taken: what the weights in a checkpoint have seen
        return int(self.trainer.fit_loop.epoch_loop.batch_progress.current.processed)  # type: ignore[attr-defined]

    def val_dataloader(self) -> list[BatchLoader]:
        """Build queries (val) and, where both sides share their classes, references (train); [] without val."""
        return self._scoring(self.parts.val) if len(self.parts.val) else []

    def test_dataloader(self) -> list[BatchLoader]:
        """The same, with the test part as queries."""
        if not len(self.parts.test):
            raise UserError("the split has no test images: set a test size above 0 in data.split")
        return self._scoring(self.parts.test)

    def predict_dataloader(self) -> BatchLoader:
        """Serve this process's share of all readable images of the source, in order, untransformed."""
        return self._shared(np.setdiff1d(np.arange(len(self.catalog)), self.unreadable))

    def ordered_dataloader(self, ids: Indices) -> BatchLoader:
        """Batches of these samples in the order given, untransformed, all of them on every process.

        Args:
            ids: int64 (n,) positions in the source.
        """
        return self._loader(ids, OrderedBatches(len(ids), self.eval_batch_size))

    @property
    def scale(self) -> tuple[Scale, Scale]:
        """Mean and standard deviation, as `mean` and `std` give them."""
        return self.mean, self.std

    @property
    def transformed(self) -> bool:
        """Whether training images are changed at random."""
        return self.transform is not None

    @property
    def view_shapes(self) -> list[tuple[int, ...]]:
        """Shapes that training images may have, as the transform shows them."""
        shape = self.image_shape
        return self.transform.view_shapes(shape) if isinstance(self.transform, ViewTransform) else [shape]

    @property
    def num_labels(self) -> int:
        """How many labels training batches may have, those the transform makes among them."""
        return self._labels_of(self.catalog)

    def _labels_of(self, catalog: Catalog) -> int:
        count = len(catalog.class_names)
        if isinstance(self.transform, ViewTransform):
            return self.transform.count_labels(count, len(catalog))
        return count

    @property
    def embedding_cache(self) -> tuple[Path, str] | None:
        """Where embeddings are kept, and a hash of all images as served; None if `cache` is off."""
        if not (self.cache and self.catalog.fingerprint):
            return None
        served = (FORM, self.catalog.fingerprint, self.image_shape, self.mean, self.std, self.eval_batch_size)
        return cache_folder(self.cache_dir), str(served)

    def names_of(self, ids: Indices) -> NDArray[np.str_]:
        """Return the names (n,) of images in their source."""
        return np.array(texts_at(self.catalog.names, np.asarray(ids)), dtype=np.str_)

    @property
    def group_rule(self) -> GroupRule:
        """Which references a query is compared with, as the source says."""
        return self.catalog.group_rule

    def groups_of(self, ids: Indices) -> Indices | None:
        """Return the groups (n,) of images, as the source tells them."""
        return None if self.catalog.groups is None else self.catalog.groups[ids]

    def thumbnails(self, ids: Indices) -> Tensor:
        """Return pictures of images (n,): uint8 (n, C, H, W) on the CPU; none for no images."""
        if not len(ids):
            return torch.empty(0, *self.image_shape, dtype=torch.uint8)
        return self.pixels.get(np.asarray(ids)).cpu().to(torch.uint8)  # a batch's ids are a tensor

    def describe(self) -> dict[str, Any]:
        """Return what the run's protocol says about the data."""
        digits = self.source is None and self.root is None
        return super().describe() | {
            "source": "digits" if digits else self.root or type(self.source).__name__,
            "training_images_left_out": len(self.unlabelled),
            "unreadable_images_left_out": len(self.unreadable),
            "flawed_images_left_out": len(self.flawed),
            "split_hash": self.split_hash,
        }

    def move(self, device: torch.device) -> None:
        """Serve batches on a device from now on; under a Lightning trainer its own device is taken."""
        if device != self._device:
            self.pixels, self._device = self.pixels.to(device), device

    def _scoring(self, part: Indices) -> list[BatchLoader]:
        sides = queries_and_references(self.catalog, self.parts.train, part)
        return [self._shared(ids) for ids in sides if len(ids)]

    def _shared(self, ids: Indices) -> BatchLoader:
        """Serve this process's share of the batches that one process alone would see."""
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return self._loader(ids, OrderedBatches(len(ids), self.eval_batch_size, rank, ranks))

    def _loader(
        self,
        ids: Indices,
        batches: EpochBatches,
        transform: nn.Module | None = None,
        progress: Callable[[], int] | None = None,
    ) -> BatchLoader:
        if self.trainer is not None:
            self.move(self.trainer.strategy.root_device)
        return BatchLoader(
            self.pixels,
            self.catalog.labels,
            ids,
            batches,
            mean=self._numbers(self.mean, "mean"),
            std=self._numbers(self.std, "std"),
            device=self._device,
            transform=transform,
            seed=self.seed,
            embedded=self.embedded,
            progress=progress,
        )

    def _numbers(self, values: float | list[float], key: str) -> Tensor:
        numbers = torch.tensor([values] if isinstance(values, int | float) else values, dtype=torch.float32)
        if len(numbers) not in (1, self.image_shape[0]) or (key == "std" and bool((numbers <= 0).any())):
            channels = self.image_shape[0]
            raise UserError(f"data.{key}={values}: give one number or {channels}, one per channel (std above 0)")
        return numbers
