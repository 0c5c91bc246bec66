"""Images with masks, which say in files of the same size which class each pixel belongs to."""

from pathlib import Path
from typing import Unpack

import numpy as np

from src.data.annotations.class_names import as_model_spells
from src.data.annotations.findings import NO_NUMBER, BoxFinding
from src.data.given_splits import group_numbers, rows_of_given
from src.data.mask_files.class_files import find_class_file, read_class_file
from src.data.mask_files.class_table import ClassTable
from src.data.mask_files.codes import FULL, text_of
from src.data.mask_files.findings import MOST_UNNAMED, MaskFindings
from src.data.mask_files.found_pairs import find_pairs
from src.data.mask_files.kept import kept_masks
from src.data.mask_files.meaning import Meaning, find_meaning
from src.data.mask_files.pair_table import PairColumns, read_pairs
from src.data.mask_files.pairs import Pairs
from src.data.mask_files.pixels import PixelReader
from src.data.mask_files.reader import MaskFiles
from src.data.mask_files.scanned import ScannedMasks, scan_masks
from src.data.masks import Masks, percent
from src.data.module import ImageDataModule
from src.data.source import DataArguments
from src.data.table import ImageTable
from src.data.targets import Rows
from src.evaluation.pixels.confusion import VOID
from src.files.printable import printable
from src.settings.errors import ConfigError
from src.settings.plurals import number_of

LISTED_VALUES = 20  # without a name


class MaskDataModule(ImageDataModule):
    """Twin folders of images and masks, masks beside their images, or a table of both (`file`).

    src/data/mask_files/roles.py says how they are told apart, pairs.py how a mask finds its image, meaning.py which
    value is which class. conf/data/masks.yaml explains the settings.
    """

    def __init__(
        self,
        *,
        root: str | None = None,
        file: str | None = None,
        image_folder: str | None = None,
        mask_folder: str | None = None,
        mask_suffix: str | None = None,
        classes: str | None = None,
        ignore_values: int | str | list[int | str] | None = None,
        path_column: str = "path",
        mask_column: str = "mask",
        split_column: str | None = "split",
        group_column: str | None = "group",
        **settings: Unpack[DataArguments],
    ) -> None:
        super().__init__(**settings)
        if root is None and file is None:
            raise ConfigError(
                "data.root is missing: the folder with images and masks; or data.file, a table with the columns path "
                "and mask."
            )
        self.file = None if file is None else Path(file).expanduser()
        self.root = Path(root).expanduser() if root is not None else Path(file or "").expanduser().parent
        self.image_folder = None if image_folder is None else Path(image_folder).expanduser()
        self.mask_folder = None if mask_folder is None else Path(mask_folder).expanduser()
        self.mask_suffix = mask_suffix
        self.ignored = [ignore_values] if isinstance(ignore_values, int | str) else list(ignore_values or ())
        self.class_file = None if classes is None else Path(classes).expanduser()
        self.columns = PairColumns(path_column, mask_column, split_column, group_column)
        self._findings: MaskFindings | None = None

    @property
    def findings(self) -> MaskFindings | None:
        _ = self.table
        return self._findings

    @property
    def where(self) -> str:
        """As messages name the data."""
        return f"data.root='{self.root}'" if self.file is None else f"data.file='{self.file}'"

    def scan(self) -> ImageTable:
        if not self.root.is_dir():
            raise ConfigError(f"data.root='{self.root}' is not a folder.")
        pairs, notes = self.pairs(), list[str]()
        table = self.class_table(pairs.masks)
        reader = self.reader(table)
        found = kept_masks(
            self.cache, self.root, pairs, str(reader), lambda: scan_masks(pairs, self.root, reader, self.num_workers)
        )
        codes, places_R = np.unique(found.code_R, return_inverse=True)
        pixels = np.bincount(places_R, found.count_R, len(codes)).astype(np.int64)
        if not len(codes):
            raise ConfigError(f"{self.where}: no mask can be used. " + printable(" ".join(found.findings.notes())))
        meaning = find_meaning(self.where, codes, pixels, table, self.ignored, self.known_classes)
        masks = self.masks_of(found, meaning, reader, table is not None, notes)
        rows = np.flatnonzero(masks.pixels(np.arange(len(masks))).sum(axis=1))
        self._findings = MaskFindings.joined(
            [found.findings, unnamed(found, meaning), without_classes(found, np.setdiff1d(np.arange(len(masks)), rows))]
        )
        if self.on_error == "fail" and (errors := self._findings.errors()):
            raise ConfigError(
                f"{self.where} (data.on_error=fail): {printable(errors)}\nRepair them, or set data.on_error=skip."
            )
        notes = [*found.notes, *meaning.notes, *notes, *self._findings.notes()]
        return self.table_of(found, masks, rows, notes)

    def class_table(self, masks: list[str]) -> ClassTable | None:
        """The one that is named, else the one that lies there, or beside the masks."""
        named = self.class_file
        if named is not None and not named.exists() and (self.root / named).exists():
            named = self.root / named
        file = named or find_class_file(self.root, masks)
        return None if file is None else read_class_file(file)

    def pairs(self) -> Pairs:
        if self.file is not None:
            return read_pairs(self.file, self.root, self.columns)
        return find_pairs(self.root, self.image_folder, self.mask_folder, self.mask_suffix)

    def reader(self, table: ClassTable | None) -> PixelReader:
        names = {} if table is None else table.names
        one = 1 if 1 in names and FULL not in names else FULL
        return PixelReader(frozenset() if table is None else table.colors, one, self.max_megapixels)

    def masks_of(
        self, found: ScannedMasks, meaning: Meaning, reader: PixelReader, named: bool, notes: list[str]
    ) -> Masks:
        """Of all images; `named`: by a table. Raises ConfigError for classes that a trained model lacks."""
        names = as_model_spells(meaning.names, self.known_classes, notes)
        unnamed = "" if named else " (no table names the values of its masks: data.classes=<file>)"
        classes = self.as_known(f"{self.where}{unnamed}", np.arange(len(names)), names)
        ids_of_V = np.append(classes.values, VOID)[np.minimum(meaning.ids, len(names))]
        columns_R = np.where(ids_of_V == VOID, 3, 4 + ids_of_V)[np.searchsorted(meaning.codes, found.code_R)]
        values = np.zeros((len(found.paths), 4 + len(classes.names)), dtype=np.int64)
        values[:, 0], values[:, 1:3] = np.arange(len(values)), found.sizes_wh
        np.add.at(values, (found.image_R, columns_R), found.count_R)
        ids = ids_of_V.astype(np.uint8)
        return Masks(values, classes.names, MaskFiles(self.root, found.masks, found.turn, reader, meaning.codes, ids))

    def table_of(self, found: ScannedMasks, masks: Masks, rows: Rows, notes: list[str]) -> ImageTable:
        groups_N = None if found.groups is None else group_numbers(found.groups[rows], notes)
        needs_train = self.known_classes is None and self.split_plan.file is None
        given = rows_of_given(found.splits[rows], self.where, needs_train, notes)
        paths, targets = found.paths[rows], masks.take(rows)
        splits = self.split_plan.split(given, targets, paths, notes, groups_N)
        return ImageTable(paths, targets, splits, self.root, groups_N=groups_N, notes=list(map(printable, notes)))


def unnamed(found: ScannedMasks, meaning: Meaning) -> MaskFindings:
    """A finding for each of the most frequent values without a name, at the first image that has it; and for all."""
    places_R = np.searchsorted(meaning.codes, found.code_R)
    shares_V = np.bincount(places_R, found.count_R, len(meaning.codes)) / max(int(found.count_R.sum()), 1)
    places = np.flatnonzero(np.isin(meaning.codes, meaning.unnamed))
    findings = []
    for place in places[np.argsort(-shares_V[places], kind="stable")][:LISTED_VALUES].tolist():
        images = found.image_R[places_R == place]
        value, share = text_of(int(meaning.codes[place])), percent(shares_V[place])
        detail = f"{value}: {share} of all pixels, in {number_of(len(images), 'mask')}"
        path, mask = str(found.paths[images[0]]), str(found.masks[images[0]])
        findings.append(BoxFinding("value_without_name", path, mask, NO_NUMBER, detail))
    if (total := float(shares_V[places].sum())) > MOST_UNNAMED or len(places) > LISTED_VALUES:
        detail = f"{number_of(len(places), 'value')} on {percent(total)} of all pixels"
        kind = "many_without_name" if total > MOST_UNNAMED else "value_without_name"
        findings.append(BoxFinding(kind, "", "", NO_NUMBER, detail))
    return MaskFindings.of(findings)


def without_classes(found: ScannedMasks, rows: Rows) -> MaskFindings:
    return MaskFindings.of(
        [BoxFinding("mask_void", str(found.paths[row]), str(found.masks[row]), NO_NUMBER, "") for row in rows]
    )
