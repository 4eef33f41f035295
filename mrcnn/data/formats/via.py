"""VGG Image Annotator json (https://www.robots.ox.ac.uk/~vgg/software/via/): versions 1 and 2."""

import contextlib
import functools
import itertools
import os
from collections.abc import Sequence

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import read_json
from mrcnn.common.words import option_or_argument
from mrcnn.data.formats import shapes
from mrcnn.data.formats.left_out import UNREADABLE_IMAGE
from mrcnn.data.formats.regions import (
    CLASS_OF_ALL,
    FEW_POINTS,
    NO_PIXEL,
    UNREADABLE_OBJECT,
    Instance,
    RegionDataset,
    names_on_one_line,
)
from mrcnn.data.formats.unread import unread_advice, unread_json
from mrcnn.data.images import image_size
from mrcnn.data.rle import encode_parts


class Via(RegionDataset):
    """Images annotated in VIA: its version 1, and the export and the project file of version 2.

    Polygons have the pixels that they had in the original's balloon sample, those of scikit-image's
    ``draw.polygon``; a polyline is taken as closed, as users of that sample did. A rectangle has
    width x height pixels, a circle and an ellipse those of scikit-image's ``draw.disk`` and
    ``draw.ellipse``. A point has no area and is left out.

    Example:
        >>> dataset = Via()
        >>> annotations = "train/via_region_data.json"
        >>> dataset.load_via(annotations, class_attribute="type", classes=["cup", "plate"])
        >>> dataset.prepare()
    """

    @names_on_one_line()
    def load_via(
        self,
        annotations: AnyPath,
        image_dir: AnyPath | None = None,
        class_attribute: str | None = None,
        classes: Sequence[str] | None = None,
        source: str = "via",
        keep_empty: bool = False,
        skip_missing: bool = False,
        other_classes: bool = False,
        collect_errors: bool = False,
    ) -> None:
        """Add the images and classes of one annotation file.

        Args:
            annotations: path of the json file.
            image_dir: folder of the images; None: that of the file, or the default path that a
                project names.
            class_attribute: the region attribute that holds the class: text, a dropdown, a radio
                button or a checkbox. "": all regions are of one class. None: the attribute that
                the file has; where it has several this is an error that lists them.
            classes: names in the order of their class ids, from 1; give the same list for training
                and validation. Regions of other classes are left out. None: the names found,
                sorted. Where there is no attribute, a list with the one class's name; None:
                "object".
            source: name for ``add_class`` and ``add_image``.
            keep_empty: also add images without a region; the original's sample leaves them out.
            skip_missing: leave images out that are not there; else they are an error.
            collect_errors: count images and objects that cannot be read in `left_out`, for `check`,
                which then finds all of them; else the first one is an error.
            other_classes: add the classes that the list lacks after those that it has, for data to
                measure a model on that does not know them; else their regions are left out.

        Raises:
            FileNotFoundError: the file or an image is missing.
            ValueError: not a VIA file, no such attribute, or a region that makes no sense.
        """
        self._start_loading(collect_errors)
        data = read_json(annotations, "a file of the VGG Image Annotator")
        entries = self._entries(data, annotations)
        folders = _folders(data, annotations) if image_dir is None else [image_dir]
        class_attribute = _class_attribute(entries, class_attribute, annotations)
        class_of = functools.partial(
            _class_of, attribute=class_attribute, of_all=_class_of_all(class_attribute, classes)
        )
        names = set()
        for region in itertools.chain.from_iterable(entries.values()):
            with contextlib.suppress(ValueError):  # which says where when the region is drawn
                names.add(class_of(region)[0])
        numbers = self._add_named_classes(source, names - {""}, classes, other_classes)
        first = len(self.image_info)
        for filename, regions in entries.items():
            if not regions and not keep_empty:
                self.left_out.add("images without regions", f"{annotations}: {filename}")
                continue
            with self._counting(UNREADABLE_IMAGE):
                path = self._image_path(folders, filename, annotations, skip_missing)
                if path is None:
                    continue
                size = image_size(path)
                instances = []
                for number, region in enumerate(regions):
                    place = f"{annotations}: {filename}, region {number}"
                    with self._counting(UNREADABLE_OBJECT):
                        instance = self._instance(region, number, class_of, numbers, size, place)
                        if instance is not None:
                            instances.append(instance)
                self.add_image(
                    source, filename, path, height=size[0], width=size[1], instances=instances
                )
        self._report(annotations, first)

    def _entries(self, data, path):
        """{file name: list of regions} of any version of the file; what is no image is counted."""
        if (kind := unread_json(data)) is not None:
            raise ValueError(f"{path} is not a VIA export. {unread_advice(kind)}")
        if not isinstance(data, dict):
            raise ValueError(
                f"{path} is not a VIA export: expected an object of images, got "
                f"{type(data).__name__}"
            )
        images, entries = data.get("_via_img_metadata", data), {}
        if not isinstance(images, dict):
            raise ValueError(
                f"{path}: '_via_img_metadata' must be an object of images, not "
                f"{type(images).__name__}"
            )
        for key, entry in images.items():
            with self._counting(UNREADABLE_IMAGE):
                filename, regions = _entry(entry, f"{path}: entry {key!r}")
                if filename in entries:
                    raise ValueError(
                        f"{path}: {filename} is there twice; VIA adds an image again when its file "
                        "has changed. Delete the entry that is out of date"
                    )
                entries[filename] = regions
        return entries

    def _instance(self, region, number, class_of, numbers, size, place):
        """The `Instance` of a region, or None where it is left out, which is counted."""
        try:
            part, reason = _draw(_shape(region), *size)
            name, without = class_of(region)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        if without:
            reason = without
        elif name not in numbers:
            reason = f"of the class {name!r}, which classes does not list"
        elif part is not None and not part[0].any():
            reason = NO_PIXEL
        if reason:
            self.left_out.add(f"regions {reason}", place)
            return None
        return Instance(numbers[name], encode_parts([part], size)[0], f"region {number}")


def _entry(entry, place):
    """The file name and the list of regions of an image."""
    if not isinstance(entry, dict) or not {"filename", "regions"} <= set(entry):
        raise ValueError(f"{place} is not a VIA image: it needs 'filename' and 'regions'")
    filename, regions = entry["filename"], entry["regions"]
    # VIA 1 has a dict
    regions = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(filename, str) or not isinstance(regions, list):
        raise ValueError(f"{place} is not a VIA image: 'filename' must be text, 'regions' a list")
    return filename, regions


def _shape(region):
    """The shape of a region."""
    shape = region.get("shape_attributes") if isinstance(region, dict) else None
    if not isinstance(shape, dict):
        raise ValueError("has no 'shape_attributes'")
    return shape


def _attributes(region):
    """The attributes of a region, which may have none."""
    attributes = region.get("region_attributes", {}) if isinstance(region, dict) else {}
    if not isinstance(attributes, dict):
        raise ValueError(f"its 'region_attributes' must be an object, not {str(attributes)[:60]}")
    return attributes


def _folders(data, path):
    folder = os.path.dirname(os.fspath(path))
    try:
        default = data["_via_settings"]["core"]["default_filepath"]
    except (KeyError, TypeError):
        return [folder]
    return (
        [folder, os.path.join(folder, default)]
        if default and isinstance(default, str)
        else [folder]
    )


def _class_attribute(entries, asked, path):
    """The name of the attribute that holds the class; "" for none."""
    met = set()
    for region in itertools.chain.from_iterable(entries.values()):
        with contextlib.suppress(ValueError):  # which says where when the region is drawn
            met |= {
                name for name, value in _attributes(region).items() if value not in ("", {}, None)
            }
    used = sorted(met)
    if asked:
        if asked not in used and any(entries.values()):
            raise ValueError(
                f"{path}: no region has the attribute {asked!r}; there are "
                f"{used if used else 'no attributes'}"
            )
        return asked
    if asked is None and len(used) > 1:
        raise ValueError(
            f"{path}: the regions have the attributes {used}: say with "
            + option_or_argument(
                '--class-attribute which is the class, or --class-attribute "" for one class',
                'class_attribute which is the class, or class_attribute="" for one class',
            )
        )
    return used[0] if asked is None and used else ""


def _class_of_all(attribute, classes):
    """The class of all regions where no attribute holds it, else ""."""
    if attribute:
        return ""
    if classes is not None and len(classes) != 1:
        raise ValueError(
            option_or_argument(
                "without --class-attribute all regions are of one class, but asked for are",
                "without a class_attribute all regions are of one class, but classes is",
            )
            + f" {classes!r}"
        )
    return CLASS_OF_ALL if classes is None else classes[0]


def _class_of(region, attribute, of_all):
    """The class of a region, "" where it has none, and why it has none.

    An attribute's value is text, or checkboxes, one of which is ticked.
    """
    value = _attributes(region).get(attribute, of_all)
    if isinstance(value, dict) and all(
        isinstance(on, (bool, int, str, type(None))) for on in value.values()
    ):
        ticked = [name for name, on in value.items() if on]
        if len(ticked) > 1:
            return "", "with several classes ticked, of which an object has one"
        value = ticked[0] if ticked else None
    if not isinstance(value, (str, int, float, type(None))):
        raise ValueError(
            f"its {attribute!r} is {str(value)[:60]}; the class must be text, or checkboxes of "
            "which one is ticked"
        )
    name = "" if value is None else str(value).strip()
    return name, None if name else "without a class"


def _draw(shape, height, width):
    """The part of the image that a region covers, or None and why it has none."""
    name = shape.get("name")
    if name in ("polygon", "polyline"):
        xs, ys = (
            shapes.coordinates(shape.get(key), key) for key in ("all_points_x", "all_points_y")
        )
        if len(xs) != len(ys):
            raise ValueError(f"a {name} has {len(xs)} all_points_x, but {len(ys)} all_points_y")
        return (None, FEW_POINTS) if len(xs) < 3 else (shapes.polygon(xs, ys, height, width), None)
    if name == "rect":
        x, y, w, h = _numbers(shape, "x", "y", "width", "height")
        return shapes.rectangle(x, y, x + w, y + h, height, width), None
    if name == "circle":
        cx, cy, r = _numbers(shape, "cx", "cy", "r")
        return shapes.ellipse(cx, cy, r, r, 0.0, height, width), None
    if name == "ellipse":
        shape = {"theta": 0, **shape}  # VIA 1 turns none
        cx, cy, rx, ry, theta = _numbers(shape, "cx", "cy", "rx", "ry", "theta")
        return shapes.ellipse(cx, cy, rx, ry, theta, height, width), None
    if name == "point":
        return None, "that are points, which have no area"
    raise ValueError(
        f"its shape is {name!r}; VIA has polygon, polyline, rect, circle, ellipse and point"
    )


def _numbers(shape, *keys):
    missing = [key for key in keys if key not in shape]
    if missing:
        raise ValueError(f"a {shape['name']} needs {', '.join(keys)}; it has no {missing[0]}")
    return [shapes.coordinates([shape[key]], key)[0] for key in keys]
