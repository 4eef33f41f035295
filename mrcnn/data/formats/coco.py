"""COCO json: polygons, run lengths and crowds (https://cocodataset.org/#format-data)."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import as_parsed, no_garbage_collection, read_json
from mrcnn.common.progress import track
from mrcnn.common.words import option_or_argument
from mrcnn.data.class_labels import class_labels
from mrcnn.data.formats.coco_categories import (
    categories_asked,
    category_of,
    id_text,
    is_asked_for,
    list_of_classes,
    root_of,
)
from mrcnn.data.formats.coco_segmentation import box_outline, is_empty, no_mask, read_segmentation
from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.regions import (
    UNREADABLE_CLASS,
    UNREADABLE_OBJECT,
    Instance,
    RegionDataset,
    names_on_one_line,
)
from mrcnn.data.images import check_pixels, image_size

_ID = (int, float, str)
# Annotations of a file from which on a progress bar is shown.
MANY = 100_000
# What ``crowds`` may be.
CROWDS = ("ignored", "objects")
ROOT = "categories that no annotation has and all others are grouped under"


class CocoJson(RegionDataset):
    """Images annotated in COCO json, as COCO itself, CVAT, Label Studio, Roboflow and others write
    it.

    Polygons are drawn by pycocotools, so that masks, areas and AP are those of COCO's own tools.

    Example:
        >>> dataset = CocoJson()
        >>> annotations = "annotations/instances_val2017.json"
        >>> dataset.load_coco_json(annotations, "val2017", class_ids=["cat", "dog"])
        >>> dataset.prepare()
    """

    def __init__(self, class_map: None = None) -> None:
        super().__init__(class_map)
        self._absent: set[tuple[str, int | str]] = set()  # (source, id) of `allow_absent`

    def is_labelled(self, class_id: int) -> bool:
        """As `Dataset.is_labelled`: the categories of a file say what its objects may be."""
        info = self.class_info[class_id]
        return (info["source"], info["id"]) not in self._absent

    def crowd_words(self) -> tuple[str, str]:
        """As `Dataset.crowd_words`."""
        option = option_or_argument("--crowds objects", 'crowds="objects"')
        return "iscrowd 1", f"{option} takes them for objects"

    @names_on_one_line()
    @no_garbage_collection()
    def load_coco_json(
        self,
        annotations: AnyPath | dict[str, Any],
        image_dir: AnyPath | None = None,
        class_ids: Sequence[int | str] | None = None,
        class_map: Mapping[int | str, str] | None = None,
        source: str = "coco",
        keep_empty: bool | None = None,
        skip_missing: bool = False,
        allow_absent: bool = False,
        crowds: str = "ignored",
        boxes_as_masks: bool = False,
        other_classes: bool = False,
        collect_errors: bool = False,
    ) -> None:
        """Add the images and classes of one annotation file.

        Args:
            annotations: path of the json file, or its contents as a dict.
            image_dir: folder of the images; None: where they usually are, beside the file or, for
                annotations/instances_val2017.json, in ../val2017, ../images and their like.
            class_ids: list of category ids or names; None or empty: all, in the order of their ids,
                which need not be contiguous, but for one that only groups the others, as Roboflow
                writes the name of its project. Classes are numbered from 1 in this order.
            class_map: {category id or name: class name}; categories of one class name become one
                class, with the id of the first. None: each is its own.
            source: name for ``add_class`` and ``add_image``.
            keep_empty: True adds images without an object of the classes too, False none of them;
                None, as the original's sample: True where ``class_ids`` is None.
            skip_missing: leave images out that are not there; else they are an error.
            allow_absent: names in class_ids that are no category become classes without objects, so
                that data of which a part has no object of a class are numbered alike; else they are
                an error, as they are where none of the names is a category.
            crowds: what annotations with iscrowd 1 are: "ignored", regions of many objects that are
                neither learned nor missed, with a negative class id, as in COCO and in the
                original's sample; or "objects" like all others, for tools such as CVAT, which write
                iscrowd 1 for every brush mask.
            boxes_as_masks: take the bbox of an annotation without a segmentation as its mask; else
                such annotations are left out.
            other_classes: add the classes that the list lacks after those that it has, for data to
                measure a model on that does not know them; else their annotations are left out.
            collect_errors: count images and objects that cannot be read in `left_out`, for `check`,
                which then finds all of them; else the first one is an error.

        Raises:
            FileNotFoundError: the file or an image is missing.
            ValueError: not COCO json, an unknown class, or an annotation that makes no sense.
        """
        self._start_loading(collect_errors)
        if crowds not in CROWDS:
            raise ValueError(f"crowds is {crowds!r}; use one of {', '.join(CROWDS)}")
        class_ids = list_of_classes(class_ids)
        where = "the COCO annotations" if isinstance(annotations, dict) else annotations
        data = (
            as_parsed(annotations)
            if isinstance(annotations, dict)
            else read_json(annotations, "a COCO annotation file")
        )
        images, records, found = self._sections(data, where)
        categories = {category_id: category["name"] for category_id, category in found.items()}
        root = root_of(found, records)
        if root is not None and not any(
            is_asked_for(root, categories, asked) for asked in (class_ids, class_map)
        ):
            name = categories.pop(root)
            if class_ids is None or other_classes:
                self.left_out.add(ROOT, f"{where}: category {root} ({name!r})")
        nameless = [one for one, name in categories.items() if not name.strip()]
        categories = {one: name for one, name in categories.items() if one not in nameless}
        category_class = self._add_categories(
            categories, class_ids, class_map, source, where, allow_absent, other_classes
        )
        found = self._known_records(records, images, [*categories, *nameless], where)
        for record, _, category_id in found if nameless else ():
            if category_id in nameless:
                self.left_out.add(
                    "annotations of a category without a name",
                    f"{where}: annotation {record['id']}, category {category_id}",
                )
        if allow_absent:  # else the caller chose among this file's own categories
            self._count_others(categories, category_class, found, where)
        keep_empty = class_ids is None if keep_empty is None else keep_empty
        wanted = (
            images
            if keep_empty
            else {image_id for _, image_id, category in found if category in category_class}
        )
        folders = _image_dirs(annotations) if image_dir is None else [image_dir]
        first, many = len(self.image_info), len(records) >= MANY
        for image_id, image in track(images.items(), "Images", many, len(images)):
            if image_id not in wanted:
                continue
            with self._counting(UNREADABLE_IMAGE):
                path = self._image_path(folders, image["file_name"], where, skip_missing)
                if path is not None:
                    height, width = _size(image, path, where)
                    self.add_image(source, image_id, path, height=height, width=width, instances=[])
        infos = {info["id"]: info for info in self.image_info[first:]}
        self._add_instances(found, images, infos, category_class, where, crowds, boxes_as_masks)
        self._report(where, first)

    def _sections(self, data, where):
        """{id: image}, [annotation] and {id: category}, checked."""
        if not isinstance(data, dict) or not {"images", "categories"} <= set(data):
            raise ValueError(
                f"{where} is not COCO json: it must be an object with 'images', 'annotations' and "
                "'categories', not "
                f"{sorted(data)[:10] if isinstance(data, dict) else type(data).__name__}"
            )
        records = data.get("annotations", [])  # the test sets of COCO come without
        for name, items in (
            ("images", data["images"]),
            ("categories", data["categories"]),
            ("annotations", records),
        ):
            if not isinstance(items, list):
                raise ValueError(f"{where}: {name!r} must be a list, not {type(items).__name__}")
        return (
            self._by_id(data["images"], "images", "file_name", where, UNREADABLE_IMAGE),
            records,
            self._by_id(data["categories"], "categories", "name", where, UNREADABLE_CLASS),
        )

    def _by_id(self, items, section, field, where, unreadable):
        """{id: item} of a section; an item that is none is counted as ``unreadable``."""
        found: dict[int | str, dict[str, Any]] = {}
        texts: dict[str, dict[str, Any]] = {}
        for number, item in enumerate(items):
            with self._counting(unreadable):
                item = _with_id(item, number, section, field, where)
                other = texts.setdefault(id_text(item["id"]), item)
                if other is not item:
                    if section == "images" and other[field] != item[field]:
                        found.pop(other["id"], None)  # whose objects they are is unknown
                    raise ValueError(
                        f"{where}: {section!r} has the id {item['id']!r} twice: {other[field]!r} "
                        f"and {item[field]!r}"
                    )
                found[item["id"]] = item
        return found

    def _add_categories(
        self, categories, class_ids, class_map, source, where, allow_absent, other_classes
    ):
        """Add the classes; returns {category id: id of its class in the source}."""
        class_map = class_map or {}
        for unknown in class_map:
            if unknown not in categories and unknown not in categories.values():
                raise ValueError(
                    f"class_map has {unknown!r}, which is no {category_of(categories, where)}"
                )
        # a category that has the class name which others are given is part of that class too
        mapped: dict[int | str, Any] = {
            one: class_map.get(
                one, class_map.get(name, name if name in class_map.values() else None)
            )
            for one, name in categories.items()
        }
        infos = [{"source": source, "id": one, "name": name} for one, name in categories.items()]
        labels = dict(zip(categories, class_labels(infos)))
        if class_ids is None:
            order: list[Any] = _in_order(categories)
            called: dict[int | str, str] = {}
        else:
            order, called = categories_asked(
                class_ids, categories, labels, mapped, allow_absent, where
            )
            order += _in_order(categories) if other_classes else []
        chosen: dict[int | str, int | str] = {}
        firsts: dict[str, int | str] = {}
        before = {info["id"]: info["name"] for info in self.class_info if info["source"] == source}
        for category_id in dict.fromkeys(order):
            if category_id not in categories:
                self.add_class(source, category_id, category_id, whole_name=True)
                self._absent.add((source, category_id))
                continue
            given = mapped[category_id]
            chosen[category_id] = (
                category_id if given is None else firsts.setdefault(given, category_id)
            )
            if chosen[category_id] != category_id:
                continue
            whole, label = categories[category_id], labels[category_id]
            told_apart = given is None and label != whole.split(",")[0]
            name = str(given or called.get(category_id, label if told_apart else whole))
            if category_id not in before:
                self.add_class(source, category_id, name, told_apart or category_id in called)
            elif before[category_id] not in (name, whole, f"{whole} ({category_id})"):
                raise ValueError(
                    f"{where}: category {category_id} is {name!r}, but {before[category_id]!r} "
                    f"in what was loaded before as {source!r}: load it with another source"
                )
        return chosen

    def _known_records(self, records, images, category_ids, where):
        """[(annotation, id of its image, id of its category)]; those of no image are left out."""
        found = []
        categories = dict.fromkeys(category_ids)
        image_texts, category_texts = (
            {id_text(one): one for one in ids} for ids in (images, categories)
        )
        for number, record in enumerate(records):
            try:
                _check_ids(record, number, where)
                image_id = _known(record["image_id"], images, image_texts)
                category_id = _known(record["category_id"], categories, category_texts)
                if category_id is None:
                    raise ValueError(
                        f"{where}: annotation {record['id']} has the category_id "
                        f"{record['category_id']!r}, which 'categories' does not list: "
                        f"{_in_order(categories)[:100]}"
                    )
                if image_id is not None:
                    found.append((record, image_id, category_id))
                else:
                    self.left_out.add(
                        "annotations of images that 'images' does not list",
                        f"{where}: annotation {record['id']}",
                    )
            except ValueError:
                # entered for each annotation it would take a third of the time of this loop
                with self._counting(UNREADABLE_OBJECT):
                    raise
        return found

    def _count_others(self, categories, category_class, found, where):
        """Count the categories that no class is made of, with their annotations."""
        count = Counter(category_id for _, _, category_id in found)
        for category_id, name in categories.items():
            if count[category_id] and category_id not in category_class:
                self.left_out.add(
                    "categories that the classes do not list",
                    f"{where}: {name!r}, {count[category_id]} annotations",
                )

    def _add_instances(self, found, images, infos, category_class, where, crowds, boxes_too):
        """Add the `Instance`s of annotations to their images, or count what is left out."""

        def place():  # of the annotation that the loop has reached; few need it
            return f"{where}: {images[image_id]['file_name']}, annotation {record['id']}"

        # in the order of the file, in which they lie in memory: faster than image by image
        many = len(found) >= MANY
        for record, image_id, category_id in track(found, "Objects", many, len(found)):
            if category_id not in category_class or image_id not in infos:
                continue
            info = infos[image_id]
            try:
                crowd = record.get("iscrowd")
                if crowd not in (0, 1, None):
                    raise ValueError(f"iscrowd is {crowd!r}; it must be 0 or 1")
                crowd = bool(crowd) and crowds == "ignored"
                segmentation = record.get("segmentation")
                if boxes_too and is_empty(segmentation):
                    segmentation = box_outline(record.get("bbox"))
                outline, reason = read_segmentation(
                    segmentation, info["height"], info["width"], crowd, place
                )
            except ValueError as error:
                with self._counting(UNREADABLE_OBJECT):
                    raise ValueError(f"{place()}: {error}") from error
                continue
            if outline is None:
                self.left_out.add(f"annotations {reason}", place(), spoils=reason == no_mask())
            else:
                class_id, text = category_class[category_id], f"annotation {record['id']}"
                info["instances"].append(Instance(class_id, outline, text, crowd))


def _image_dirs(path):
    """Folders in which the images of an annotation file are looked for."""
    if isinstance(path, dict):
        raise ValueError("annotations that are no file need an image_dir")
    folder = os.path.dirname(path) or os.curdir
    above = os.path.normpath(os.path.join(folder, os.pardir))
    part = os.path.splitext(os.path.basename(path))[0].removeprefix("instances_")
    subset = part.rstrip("0123456789")  # train2017 without the year
    names = (
        part,
        subset,
        os.path.join("images", part),
        os.path.join("images", subset),
        "images",
        "data",
        "",
    )
    folders = [folder, *(os.path.join(above, name) for name in names)]
    folders += [os.path.join(folder, name) for name in ("images", "data")]
    return [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)]


def _in_order(ids):
    """Ids in the order in which classes are numbered."""
    return sorted(ids, key=lambda one: (isinstance(one, str), one))


def _with_id(item, number, section, field, where):
    """An image or a category, checked, with an id that is no float."""
    if isinstance(item, dict) and isinstance(item.get("id"), float) and item["id"].is_integer():
        item = {**item, "id": int(item["id"])}  # as JavaScript and pandas write them
    if (
        not isinstance(item, dict)
        or not isinstance(item.get("id"), (int, str))
        or isinstance(item["id"], bool)
        or not isinstance(item.get(field), str)
    ):
        raise ValueError(
            f"{where}: each of {section!r} needs an 'id' and a {field!r}: "
            f"{section}[{number}] is {str(item)[:100]}"
        )
    return item


def _check_ids(record, number, where):
    """Refuse an annotation without an id, or without those of its image and category."""
    if not (
        isinstance(record, dict)
        and "id" in record
        and "image_id" in record
        and "category_id" in record
    ):
        raise ValueError(
            f"{where}: an annotation needs 'id', 'image_id' and 'category_id': "
            f"annotations[{number}] is {str(record)[:100]}"
        )
    image_id, category_id = record["image_id"], record["category_id"]
    if not (isinstance(image_id, _ID) and isinstance(category_id, _ID)):
        raise ValueError(
            f"{where}: annotation {record['id']}: 'image_id' and 'category_id' must be numbers or "
            f"text, got {image_id!r} and {category_id!r}"
        )


def _known(number, ids, texts):
    """The one of some ids, keys of a dict, that an annotation means, or None; ``texts`` are
    {`id_text`: id}.
    """
    if type(number) is int and number in ids:  # in a large file all of them
        return number
    return texts.get(id_text(number))


def _size(image, path, where):
    """(height, width) px as the file says; of the image itself where it does not."""
    sides = image.get("height"), image.get("width")
    if None in sides:
        return image_size(path)
    said = f"{where}: {image['file_name']} has height and width {str(sides)[:60]}"
    if not all(
        isinstance(side, (int, float)) and 1 <= side < math.inf and side == int(side)
        for side in sides
    ):
        raise ValueError(f"{said}; they must be whole numbers of px")
    height, width = map(int, sides)
    if height * width >= 2**32:  # pycocotools counts with 32 bits
        raise ValueError(f"{said}; they must make fewer than 2 ** 32 px")
    check_pixels(height, width, f"{where}: {image['file_name']}")
    return height, width
