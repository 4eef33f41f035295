"""VGG Image Annotator json (https://www.robots.ox.ac.uk/~vgg/software/via/): versions 1 and 2."""

import os
from collections.abc import Sequence

from mrcnn.common.files import AnyPath
from mrcnn.common.json_files import read_json
from mrcnn.data.formats import shapes
from mrcnn.data.formats.regions import (
    CLASS_OF_ALL,
    FEW_POINTS,
    NO_PIXEL,
    UNREADABLE_IMAGE,
    UNREADABLE_OBJECT,
    Instance,
    RegionDataset,
    names_on_one_line,
)
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
        self.collects_errors = collect_errors
        data = read_json(annotations, "a file of the VGG Image Annotator")
        entries = _entries(data, annotations)
        folders = _folders(data, annotations) if image_dir is None else [image_dir]
        class_attribute = _class_attribute(entries, class_attribute, annotations)
        names = self._region_names(entries, class_attribute, classes)
        numbers = self._add_named_classes(
            source, {name for name in names.values() if name}, classes, other_classes
        )
        first = len(self.image_info)
        for filename, regions in entries.items():
            if not regions and not keep_empty:
                self.left_out.add("images without regions", f"{annotations}: {filename}")
                continue
            with self._counting(UNREADABLE_IMAGE):
                path = self._image_path(folders, filename, annotations, skip_missing)
                if path is None:
                    continue
                height, width = image_size(path)
                instances = []
                for number, region in enumerate(regions):
                    with self._counting(UNREADABLE_OBJECT):
                        instances.append(
                            self._instance(
                                region,
                                number,
                                names[filename, number],
                                numbers,
                                (height, width),
                                f"{annotations}: {filename}, region {number}",
                            )
                        )
                self.add_image(
                    source,
                    filename,
                    path,
                    height=height,
                    width=width,
                    instances=[instance for instance in instances if instance],
                )
        self._tell(annotations, first)

    def _region_names(self, entries, class_attribute, classes):
        """{(image, number of the region): class name, or "" where it has none}."""
        if class_attribute:
            return {
                (filename, number): _class_name(region["region_attributes"].get(class_attribute))
                for filename, regions in entries.items()
                for number, region in enumerate(regions)
            }
        if classes is not None and len(classes) != 1:
            raise ValueError(
                "without a class_attribute all regions are of one class, but classes is "
                f"{classes!r}"
            )
        name = CLASS_OF_ALL if classes is None else classes[0]
        return {
            (filename, number): name
            for filename, regions in entries.items()
            for number in range(len(regions))
        }

    def _instance(self, region, number, name, numbers, size, place):
        """The `Instance` of a region, or None where it is left out."""
        try:
            part, reason = _draw(region["shape_attributes"], *size)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from error
        if not name:
            reason = "without a class, or with several"
        elif name not in numbers:
            reason = f"of the class {name!r}, which classes does not list"
        elif part is not None and not part[0].any():
            reason = NO_PIXEL
        if reason:
            self.left_out.add(f"regions {reason}", place)
            return None
        return Instance(numbers[name], encode_parts([part], size)[0], f"region {number}")


def _entries(data, path):
    """{file name: list of regions} of any version of the file."""
    if isinstance(data, dict) and {"project", "config", "file", "metadata"} <= set(data):
        raise ValueError(
            f"{path} is a project of VIA 3, which this reads not: annotate images with VIA 2, or "
            "export COCO json"
        )
    if not isinstance(data, dict):
        raise ValueError(
            f"{path} is not a VIA export: expected an object of images, got {type(data).__name__}"
        )
    images, entries = data.get("_via_img_metadata", data), {}
    if not isinstance(images, dict):
        raise ValueError(
            f"{path}: '_via_img_metadata' must be an object of images, not {type(images).__name__}"
        )
    for key, entry in images.items():
        if not isinstance(entry, dict) or not {"filename", "regions"} <= set(entry):
            raise ValueError(
                f"{path}: entry {key!r} is not a VIA image: it needs 'filename' and 'regions'"
            )
        filename, regions = entry["filename"], entry["regions"]
        # VIA 1 has a dict
        regions = list(regions.values()) if isinstance(regions, dict) else regions
        if not isinstance(filename, str) or not isinstance(regions, list):
            raise ValueError(
                f"{path}: entry {key!r} is not a VIA image: 'filename' must be text, 'regions' a "
                "list"
            )
        if filename in entries:
            raise ValueError(
                f"{path}: {filename} is there twice; VIA adds an image anew when its file has "
                "changed. Delete the entry that is out of date"
            )
        for number, region in enumerate(regions):
            if not isinstance(region, dict) or not isinstance(region.get("shape_attributes"), dict):
                raise ValueError(f"{path}: {filename}, region {number} has no 'shape_attributes'")
            attributes = region.setdefault("region_attributes", {})
            if not isinstance(attributes, dict):
                raise ValueError(
                    f"{path}: {filename}, region {number}: 'region_attributes' must be an object"
                )
        entries[filename] = regions
    return entries


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
    used = sorted(
        {
            name
            for regions in entries.values()
            for region in regions
            for name, value in region["region_attributes"].items()
            if value not in ("", {}, None)
        }
    )
    if asked:
        if asked not in used and any(entries.values()):
            raise ValueError(
                f"{path}: no region has the attribute {asked!r}; there are "
                f"{used if used else 'no attributes'}"
            )
        return asked
    if asked is None and len(used) > 1:
        raise ValueError(
            f"{path}: the regions have the attributes {used}: say with class_attribute "
            '(--class-attribute) which is the class, or class_attribute="" for one class'
        )
    return used[0] if asked is None and used else ""


def _class_name(value):
    """The class that an attribute's value names: text, or the one box that is ticked; "" for
    none.
    """
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on]
        return ticked[0].strip() if len(ticked) == 1 else ""
    return "" if value is None or isinstance(value, list) else str(value).strip()


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
