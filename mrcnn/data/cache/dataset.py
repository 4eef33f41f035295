"""A cache of records as a `Dataset`, to train on in place of the data set that it was made of."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument, some
from mrcnn.data.cache.classes import chosen_classes
from mrcnn.data.cache.example import decode
from mrcnn.data.cache.layout import (
    check_fingerprint,
    read_about,
    read_part,
    settings_of,
)
from mrcnn.data.cache.read import read_record
from mrcnn.data.class_labels import class_labels
from mrcnn.data.dataset import Dataset
from mrcnn.data.formats.left_out import LeftOut

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.load import Prepared

logger = logging.getLogger(__name__)


class RecordDataset(Dataset):
    """The images of a cache, prepared: with the numbers, classes, sources, ids and paths of the
    data set it is of.

    `MaskRCNN.train` takes it in place of that data set and trains on the same batches, bit for bit,
    as long as nothing of the resize is random. ``load_image`` and ``load_mask`` return what was
    cached, at training size and without its padding; to evaluate, take the data set itself. The
    image files of that are not needed.

    Args:
        folder: of `write_records`.
        classes: names of the classes, in the order to number them in; one that the cache lacks
            becomes a class without objects, of which it is not known whether there are any. None:
            those of the data set, in its order.
        other_classes: add the classes that the list lacks after those that it has; else their
            objects are left out, which is counted.

    Attributes:
        folder: str.
        settings: {field of Config: value} that the cache was made with.
        bad_images: list of str, the images that were left out, with the reason of each.
        left_out: `data.formats.left_out.LeftOut`, the classes of the cache that ``classes`` lacks.

    Raises:
        FileNotFoundError: no cache, or one that is not whole.
        ValueError: a damaged one, or one that has none of the classes.
    """

    def __init__(
        self,
        folder: AnyPath,
        classes: Sequence[str] | None = None,
        other_classes: bool = False,
    ) -> None:
        super().__init__()
        self.folder = os.fspath(folder)
        about = read_about(self.folder)
        parts = {
            name: read_part(self.folder, name, about["fingerprint"]) for name in about["parts"]
        }
        check_fingerprint(self.folder, about, parts.values())
        self.settings = about["settings"]
        self.bad_images = []
        self.left_out = LeftOut()
        self._unlabelled: set[int] = set()  # class ids
        # the class id of each class of the cache; 0 of those that are left out
        self._class_ids = self._add_classes(about["classes"], classes, other_classes)
        for name, part in parts.items():
            self.bad_images += part["left_out"]
            for info in part["images"]:
                self.add_image(
                    info["source"],
                    info["id"],
                    info["path"],
                    record=(os.path.join(self.folder, f"{name}.tfrecord"), info["offset"]),
                )
        self.prepare()
        logger.log(
            logging.WARNING if len(self.left_out) else logging.INFO,
            "%s: %d images of %d classes%s",
            self.folder,
            self.num_images,
            self.num_classes - 1,
            f"; left out: {self.left_out}" if len(self.left_out) else "",
        )

    def load_prepared(self, image_id: int, config: Config) -> Prepared:
        """The `data.load.Prepared` of an image, of which ``load_image_gt`` makes what is trained
        on.

        Raises:
            ValueError: the cache was made with other settings than ``config`` has, or the record is
                damaged.
        """
        self.check_settings(config)
        return self._decoded(image_id)

    def is_labelled(self, class_id: int) -> bool:
        """As `Dataset.is_labelled`: of the data set that the cache is of."""
        return class_id not in self._unlabelled

    def check_settings(self, config: Config, fields: Sequence[str] | None = None) -> None:
        """Raise a ValueError where the cache was made with other settings than a config has, of
        these fields; None: of all that the records depend on.
        """
        now = settings_of(config)
        other = [
            f"{name} = {self.settings.get(name)!r} (the config has {now[name]!r})"
            for name in (now if fields is None else fields)
            if self.settings.get(name) != now[name]
        ]
        if other:
            raise ValueError(
                f"the cache {self.folder} was made with {', '.join(other)}: "
                + option_or_argument("give --size or --set FIELD=VALUE", "set the config")
                + " so, or write another cache"
            )

    def load_image(self, image_id: int) -> np.ndarray:
        """The image at training size without its padding: [height, width, channels]."""
        prepared = self._decoded(image_id)
        y1, x1, y2, x2 = prepared.window
        return prepared.image[y1:y2, x1:x2]

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The masks that belong to `load_image`: bool [height, width, N], class ids int32 [N]."""
        prepared = self._decoded(image_id)
        y1, x1, y2, x2 = prepared.window
        return prepared.mask[y1:y2, x1:x2], np.array(prepared.class_ids)

    def decoded(self, image_id: int, record: bytes) -> Prepared | None:
        """The `data.load.Prepared` of an image's record; None of one that is damaged, or that is
        another image's.
        """
        info = self._info(image_id)
        prepared = decode(record, info["source"], info["id"]) if record else None
        if prepared is None:
            return None
        class_ids = np.sign(prepared.class_ids) * self._class_ids[np.abs(prepared.class_ids)]
        chosen = class_ids != 0
        # all are chosen nearly always, and masks are large
        mask = prepared.mask if chosen.all() else prepared.mask[:, :, chosen]
        return prepared._replace(mask=mask, class_ids=class_ids[chosen])

    def _add_classes(self, infos, classes, other_classes):
        """Add the classes asked for; int32 [classes of the cache], the class id that each has now,
        0 of those that are left out.
        """
        chosen = chosen_classes(infos, classes, other_classes)
        if len(infos) > 1 and all(number is None for _, number in chosen):
            raise ValueError(
                f"the cache {self.folder} is of the classes {some(class_labels(infos)[1:])}, none "
                f"of which is among {some(classes)}"
            )
        class_ids = np.zeros(len(infos), np.int32)
        for class_id, (info, number) in enumerate(chosen, 1):
            self.add_class(info["source"], info["id"], info["name"], info.get("whole_name", False))
            if not info.get("labelled", True):
                self._unlabelled.add(class_id)
            if number is not None:
                class_ids[number] = class_id
        for label, class_id in zip(class_labels(infos)[1:], class_ids[1:]):
            if not class_id:
                self.left_out.add(
                    "classes of the cache that the classes do not list", f"{self.folder}: {label!r}"
                )
        return class_ids

    def _decoded(self, image_id):
        path, offset = self._info(image_id)["record"]
        prepared = self.decoded(image_id, read_record(path, offset).numpy())
        if prepared is None:
            raise ValueError(
                f"{path} is damaged at byte {offset}, or the json beside it is: delete them, and "
                "write the cache again"
            )
        return prepared
