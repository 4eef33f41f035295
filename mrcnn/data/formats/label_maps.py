"""Label maps in image files: the class of each pixel, as its value or as its colour."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument, some
from mrcnn.data.class_labels import classes_called
from mrcnn.data.formats.label_files import colour_of, read_colours, read_values
from mrcnn.data.formats.label_layouts import (
    BACKGROUND_NAMES,
    VOID_NAMES,
    Colour,
    Meaning,
    known_meaning,
    label_pairs,
    names_of_values,
)
from mrcnn.data.formats.left_out import Reader
from mrcnn.data.formats.mask_files import check_size, refuse_lossy, shades_of_edges
from mrcnn.data.formats.mask_pairs import expected_mask, hint_of_case
from mrcnn.data.formats.mask_png import SOFT_EDGES, missing_file, report_masks
from mrcnn.data.formats.regions import class_numbers
from mrcnn.data.images import image_size, read_image
from mrcnn.data.labels import (
    LARGE_VOID,
    VOID,
    LabelMap,
    label_dtype,
    masks_of_labels,
    pixel_counts,
    regions,
    void_label,
)

VOID_EVERYWHERE = "label maps that are void everywhere"
NO_CLASS = "label map of void and background"


class LabelMaps(Reader):
    """Images with a label map each: an image file (png or any other without loss) in which a
    pixel's value, or its colour, is its class.

    `load_labels` gives the maps. `load_mask` gives one mask for each class of an image or, of what
    was loaded with ``regions``, for each region of one; void is in none of them. The files are read
    when they are wanted, not while loading.

    Example:
        >>> dataset = LabelMaps()
        >>> dataset.load("images", "labels", class_names=["road", "car"])
        >>> dataset.prepare()
        >>> dataset.load_labels(0)  # uint8 [height, width]
    """

    # === Loading ===

    def load(
        self,
        image_dir: AnyPath,
        label_dir: AnyPath,
        class_names: Sequence[str] | None = None,
        palette: Mapping[str, Colour] | None = None,
        ids: Mapping[int, int] | None = None,
        void: Iterable[int] = (),
        classes: Sequence[str] | None = None,
        other_classes: bool = False,
        source: str = "labels",
        listed: AnyPath | None = None,
        regions: bool = False,
        skip_missing: bool = False,
        collect_errors: bool = False,
    ) -> None:
        """Add images with a label map each.

        The files are paired as `mask_pairs.pair_files` does it, or by Cityscapes' names. What the
        values mean is said by ``palette`` or ``class_names``; else by labelmap.txt (CVAT),
        class_dict.csv, classes.txt, class_names.txt or objectInfo150.txt (ADE) in the folder of the
        label maps or above it; else by the layout, of Pascal VOC, Cityscapes or CamVid. Files with
        a palette are read by its indices, unless ``palette`` is given.

        Args:
            image_dir, label_dir: folders.
            class_names: of the values 1, 2 ...; 0 is the background, which may come first.
            palette: {name of the class: (red, green, blue)} of files of colours. "background" is
                class 0, black where it is not listed; "void" is void.
            ids: {value: number of the class}, from 1 on as the classes are listed, 0 for the
                background; a value that is not listed is an error, except 0, which is the
                background. None: every value is the number of its class.
            void: values that are void, beside 255 (of more than 254 classes 65535).
            classes: names of classes, in the order to number them in: those of the training data.
                The pixels of others become background. Where nothing else names the classes they do
                so, as ``class_names``. None: all.
            other_classes: add those that are not in ``classes`` after them.
            source: name for ``add_class`` and ``add_image``.
            listed: file of the names of the images to add, one a line; None: all.
            regions: ``load_mask`` gives one mask a region.
            skip_missing: leave images without a label map out; else they are an error.
            collect_errors: count images that cannot be used in `left_out`, for `check`, which then
                finds all of them; else the first one is an error.

        Raises:
            FileNotFoundError: a folder or a label map is missing, or there are no images.
            ValueError: nothing names the classes, or what does is wrong; label maps are JPEG.
        """
        self.collects_errors = collect_errors
        pairs, unused = label_pairs(image_dir, label_dir, listed, self._counting)
        maps = [pair.labels for pair in pairs if pair.labels]
        first_map = next((path for path in maps if not collect_errors or _is_usable(path)), "")
        meaning, of_colours = _meaning(
            label_dir, first_map, class_names, palette, ids, tuple(void), classes
        )
        numbers = self._numbered(source, meaning.names, classes, other_classes)
        values = _values_of_colours(meaning, numbers) if of_colours else _values(meaning, numbers)
        first = len(self.image_info)
        for pair in pairs:
            if pair.labels is None and skip_missing:
                self.left_out.add("images without a label map", pair.image)
                continue
            with self._counting():
                if pair.labels is None:
                    raise missing_file(
                        f"{os.fspath(label_dir)} has no label map for {pair.image}: it should be "
                        f"{expected_mask(pair.id)}{hint_of_case(pair.id, map(_name, unused))}"
                    )
                refuse_lossy(pair.labels)
                self.add_image(
                    source,
                    pair.id,
                    pair.image,
                    label_path=pair.labels,
                    values=values,
                    of_colours=of_colours,
                    regions=regions,
                )
        for path in unused:
            self.left_out.add("label maps without an image", path)
        self.prepare()  # looks at a few of them
        report_masks(self, label_dir, first, self.left_out)

    def _numbered(self, source, names, classes, other_classes):
        """The number in its source of each of the classes that label maps have; 0 of those that
        become background.
        """
        if classes is None:
            known = class_numbers(self, source, names)
            return [known[name] for name in names]
        if isinstance(classes, str) or len(set(classes)) != len(classes):
            raise ValueError(f"classes must be a list of different names, got {classes!r}")
        meant: dict[str, str] = {}  # {name of the label maps: as it is called here}
        spellings = {name: ((name,), (name.split(",")[0],)) for name in names}
        wanted: list[str] = []
        for asked, (called, _) in zip(classes, classes_called(classes, spellings)):
            own = called if len(called) > 1 else [asked]
            wanted += own
            meant.update(zip(called, own))
        others = [name for name in names if name not in meant]
        if other_classes:
            wanted += others
            meant.update(zip(others, others))
        else:
            for name in others:
                self.left_out.add("classes of the label maps that the classes do not list", name)
        known = class_numbers(self, source, wanted, whole_names=True)
        return [known[meant[name]] if name in meant else 0 for name in names]

    # === Asking ===

    def load_labels(
        self, image_id: int, overlap: str = "smaller", crowds: str = "ignore"
    ) -> LabelMap:
        """The label map of one image, as `Dataset.load_labels`; nothing overlaps in it.

        Raises:
            ValueError: a file that is no label map, or of another size than the image; a value or a
                colour that is no class.
        """
        info = self._info(image_id)
        if not _is_own(info):
            return super().load_labels(image_id, overlap, crowds)
        read = read_colours if info["of_colours"] else read_values
        found = read(info["label_path"])
        check_size(found, info["label_path"], image_size(info["path"]), info["path"])
        void = void_label(len(self.class_info))
        labels = _translated(found, self._class_ids(info, void), info)
        if (labels == void).all():
            self.left_out.add(VOID_EVERYWHERE, info["label_path"])
        return labels.astype(label_dtype(void))

    def _class_ids(self, info, void):
        """{value or colour: class id, or ``void``}."""
        return {
            value: void
            if number is None
            else number and self.map_source_class_id(f"{info['source']}.{number}")
            for value, number in info["values"].items()
        }

    def load_mask(self, image_id: int) -> tuple[np.ndarray, np.ndarray]:
        """The masks of one image, by class, or region after region.

        Returns:
            masks: bool [height, width, classes or regions].
            class_ids: int32 [classes or regions].
        """
        info = self._info(image_id)
        if not _is_own(info):
            return super().load_mask(image_id)
        labels = self.load_labels(image_id)
        if info["regions"]:
            return regions(labels)
        return masks_of_labels(labels, len(self.class_info))

    def knows_labels(self, image_id: int) -> bool:
        """As `Dataset.knows_labels`: of all images that were loaded with a label map."""
        return _is_own(self._info(image_id))

    def measure_objects(
        self, image_id: int
    ) -> tuple[tuple[int, int], np.ndarray, NDArray[np.int64]]:
        """As `Dataset.measure_objects`, without a mask where an object is a class."""
        info = self._info(image_id)
        if not _is_own(info) or info["regions"]:
            return super().measure_objects(image_id)
        labels = self.load_labels(image_id)
        counts = pixel_counts(labels, len(self.class_info))
        class_ids = np.flatnonzero(counts[1:]).astype(np.int32) + 1
        height, width = labels.shape
        return (height, width), class_ids, counts[class_ids]

    def mask_doubts(self, image_id: int) -> list[tuple[str, str]]:
        """Soft edges of a label map, and one of 0 and 255 alone, as (kind, where)."""
        info = self._info(image_id)
        if not _is_own(info):
            return super().mask_doubts(image_id)
        labels = self.load_labels(image_id)
        path, void = info["label_path"], void_label(len(self.class_info))
        present = set(np.unique(labels).tolist())
        if present == {0, void} and not info["of_colours"]:
            return [
                (
                    NO_CLASS,
                    f"{path}: of its values one is background and the other void, as 255 is; where "
                    "that marks a class, give "
                    + option_or_argument("--label-ids 255=1", "ids={255: 1}"),
                )
            ]
        if shades := shades_of_edges(np.where(labels == void, 0, labels)):
            names = some([self.class_names[shade] for shade in shades], 3)
            return [
                (
                    SOFT_EDGES,
                    f"{path}: its classes {names} are in edges only; save or resize the label map "
                    "without smoothing",
                )
            ]
        return []


def _is_own(info):
    """Whether `LabelMaps` added an image, not a subclass."""
    return "label_path" in info


def _is_usable(path):
    with contextlib.suppress(OSError, ValueError):  # told where its image is added or looked at
        refuse_lossy(path)
        return bool(read_image(path, mask=True).size)
    return False


def _name(path):
    return os.path.basename(path)


# === What values mean ===


def _meaning(label_dir, first_map, class_names, palette, ids, void, classes):
    """The `Meaning` of label maps, and whether they have colours, not values."""
    if palette is not None:
        if class_names is not None or ids is not None or void:
            raise ValueError(
                "palette names the classes and void: give no class_names, ids or void with it"
            )
        return Meaning(_classes_of(palette), palette=palette), True
    known = None if class_names is not None else known_meaning(label_dir, first_map)
    if class_names is None and known is None and classes is not None:
        class_names = classes
    if class_names is not None:
        known = Meaning(names_of_values(class_names))
    if known is None:
        values = some(np.unique(read_values(first_map)).tolist(), 10) if first_map else "none"
        raise ValueError(
            f"nothing names the classes of the label maps in {os.fspath(label_dir)}: list them, "
            "from that of the value 1 on, in class_names or, one a line, in a file classes.txt "
            f"beside them. {first_map} has the values {values}"
        )
    names = list(known.names)
    if isinstance(class_names, str) or not names or len(set(names)) != len(names):
        raise ValueError(
            f"the classes of the label maps in {os.fspath(label_dir)} must be different names, "
            f"got {class_names or names!r}"
        )
    if known.palette is not None and read_image(first_map, True, indices=True, mask=True).ndim == 3:
        if ids is not None or void:
            raise ValueError(
                option_or_argument("--label-ids and --label-void are", "ids and void are")
                + f" of values, and {first_map} has colours"
            )
        return known, True
    return known._replace(
        ids=known.ids if ids is None else ids,
        void=(*(known.void if ids is None else ()), *void),
        palette=None,
    ), False


def _classes_of(palette):
    return [name for name in palette if name.lower() not in (*BACKGROUND_NAMES, *VOID_NAMES)]


def _values(meaning, numbers):
    """{value of a file: number of the class in its source, 0 for the background, None for void}."""
    count = len(numbers)
    ids = dict(enumerate(range(count + 1))) if meaning.ids is None else {0: 0, **meaning.ids}
    wrong = {value: number for value, number in ids.items() if number not in range(count + 1)}
    if wrong:
        value, number = next(iter(wrong.items()))
        raise ValueError(
            f"ids has {number!r} for the value {value!r}, which is no class: there are {count}, "
            f"{some(meaning.names, 5)}, numbered from 1, and 0 for the background"
        )
    return {
        **dict.fromkeys((VOID, LARGE_VOID)),
        **{value: number and numbers[number - 1] for value, number in ids.items()},
        **dict.fromkeys(meaning.void),
    }


def _values_of_colours(meaning, numbers):
    """As `_values`, of colours, each as one number."""
    by_name = dict(zip(meaning.names, numbers))
    values: dict[int, int | None] = {}
    for name, colour in meaning.palette.items():
        if len(colour) != 3 or not all(part in range(256) for part in colour):
            raise ValueError(
                f"the colour of {name!r} must be (red, green, blue), 0 to 255 each, got {colour!r}"
            )
        red, green, blue = map(int, colour)
        if (code := (red << 16) + (green << 8) + blue) in values:
            raise ValueError(f"{name!r} and another class have the colour {tuple(colour)}")
        no_class = None if name.lower() in VOID_NAMES else 0
        values[code] = by_name.get(name, no_class)
    if not any(name.lower() in BACKGROUND_NAMES for name in meaning.palette):
        values.setdefault(0, 0)
    return values


def _translated(found, class_ids, info):
    """The class id of each value or colour; an error names the first that has none."""
    keys = np.array(sorted(class_ids))
    wanted = np.array([class_ids[key] for key in keys.tolist()], np.int32)
    if found.dtype in (np.uint8, np.uint16):
        table = np.full(np.iinfo(found.dtype).max + 1, -1, np.int32)
        inside = keys < len(table)
        table[keys[inside]] = wanted[inside]
        labels = table[found]
    else:
        index = np.minimum(np.searchsorted(keys, found), len(keys) - 1)
        labels = np.where(keys[index] == found, wanted[index], -1)
    if (labels < 0).any():
        y, x = map(int, np.unravel_index((labels < 0).argmax(), labels.shape))
        raise ValueError(_unknown(int(found[y, x]), y, x, info))
    return labels


def _unknown(value, y, x, info):
    """Words for a value or a colour that is no class."""
    if not info["of_colours"]:
        known = sorted(value for value, number in info["values"].items() if number is not None)
        return (
            f"{info['label_path']} has the value {value} at (y, x) = ({y}, {x}), which is neither "
            f"a class nor void: the classes have {some(known)}. Name every class, or say what it "
            "means with "
            + option_or_argument(
                f"--label-void {value} or, as of every value, --label-ids {value}=CLASS",
                f"ids={{{value}: number of the class}} or void=[{value}]",
            )
        )
    colour = np.array(colour_of(value))
    near = min(info["values"], key=lambda code: np.abs(colour - colour_of(code)).sum())
    place = option_or_argument(
        "the file that names the classes, such as class_dict.csv (name,r,g,b)", "palette"
    )
    return (
        f"{info['label_path']} has the colour {colour_of(value)} at (y, x) = ({y}, {x}), which is "
        f"no class: the nearest that is known is {colour_of(near)}. List it in {place}, as a class "
        "or as 'void'"
    )
