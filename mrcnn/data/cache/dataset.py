"""A cache of records as a `Dataset`, to train on in place of the data set that it was made of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument
from mrcnn.data.cache.example import decode
from mrcnn.data.cache.layout import (
    FIELDS,
    check_fingerprint,
    read_about,
    read_part,
    settings_of,
)
from mrcnn.data.cache.read import read_record
from mrcnn.data.dataset import Dataset

if TYPE_CHECKING:
    from mrcnn.config import Config
    from mrcnn.data.load import Prepared


class RecordDataset(Dataset):
    """The images of a cache, prepared: with the numbers, classes, sources, ids and paths of the
    data set it is of.

    `MaskRCNN.train` takes it in place of that data set and trains on the same batches, bit for bit,
    as long as nothing of the resize is random. ``load_image`` and ``load_mask`` return what was
    cached, at training size and without its padding; to evaluate, take the data set itself.

    Args:
        folder: of `write_records`.

    Attributes:
        folder: str.
        settings: {field of Config: value} that the cache was made with.
        bad_images: list of str, the images that were left out, with the reason of each.

    Raises:
        FileNotFoundError: no cache, or one that is not whole.
        ValueError: a damaged one.
    """

    def __init__(self, folder: AnyPath) -> None:
        super().__init__()
        self.folder = os.fspath(folder)
        about = read_about(self.folder)
        parts = {
            name: read_part(self.folder, name, about["fingerprint"]) for name in about["parts"]
        }
        check_fingerprint(self.folder, about, parts.values())
        self.settings = about["settings"]
        self.bad_images = []
        for info in about["classes"][1:]:  # the first is the background
            self.add_class(info["source"], info["id"], info["name"], info.get("whole_name", False))
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

    def load_prepared(self, image_id: int, config: Config) -> Prepared:
        """The `data.load.Prepared` of an image, of which ``load_image_gt`` makes what is trained
        on.

        Raises:
            ValueError: the cache was made with other settings than ``config`` has, or the record is
                damaged.
        """
        self.check_settings(config)
        return self._decoded(image_id)

    def check_settings(self, config: Config) -> None:
        """Raise a ValueError where the cache was made with other settings than a config has."""
        now = settings_of(config)
        other = [
            f"{name} = {self.settings.get(name)!r} (the config has {now[name]!r})"
            for name in FIELDS
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
        return decode(record, info["source"], info["id"]) if record else None

    def _decoded(self, image_id):
        path, offset = self._info(image_id)["record"]
        prepared = self.decoded(image_id, read_record(path, offset).numpy())
        if prepared is None:
            raise ValueError(
                f"{path} is damaged at byte {offset}, or the json beside it is: delete them, and "
                "write the cache again"
            )
        return prepared
