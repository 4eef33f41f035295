"""Annotation files of each format, and other readings of them: written from the formats'
descriptions, one object after the other, to compare the readers with.
"""

import base64
import collections
import contextlib
import io
import json
from functools import cached_property

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from skimage import draw

from mrcnn.data.formats.coco import CocoJson
from mrcnn.data.formats.labelme import Labelme
from mrcnn.data.formats.via import Via
from mrcnn.data.masks import mask_of_picture
from tests.tiny import image

SIZE = HEIGHT, WIDTH = 24, 32
IMAGES = "a.png", "b.png", "c.png"
SQUARE = [4, 3, 20, 3, 20, 15, 4, 15]
TRIANGLE = [2.5, 20.25, 29, 22, 15.5, 2]
BLOB = np.zeros(SIZE, bool)
BLOB[3:9, 25:] = BLOB[12:20, 2:9] = True


# === Other readings ===


def numbers(values):
    """A list of numbers that may be coordinates, or an error."""
    plain = [type(value) in (int, float) and abs(value) <= 1e6 for value in values]
    if not (isinstance(values, list) and all(plain)):
        raise ValueError(values)
    return [float(value) for value in values]


def unpacked(text):
    """The run lengths of COCO's packed text, one character after the other."""
    runs, value, shift = [], 0, 0
    for letter in text:
        code = ord(letter) - 48
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def mask_of_runs(runs, height, width):
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def text_of(number):
    """An id as text, where it may be one."""
    if type(number) is bool or not isinstance(number, (int, float, str)):
        raise ValueError(number)
    return str(int(number) if isinstance(number, float) and number == int(number) else number)


def plain_name(name):
    return name.replace("\\", "/").rpartition("/")[2]


def read(text):
    """The content of a JSON; of a key that an object has twice it is nobody's to say."""

    def unique(pairs):
        if len(dict(pairs)) < len(pairs) and len({json.dumps(pair) for pair in pairs}) > len(
            dict(pairs)
        ):
            raise ValueError(pairs)
        return dict(pairs)

    return json.loads(text.decode("utf-8-sig"), object_pairs_hook=unique)


class Object:
    """An object by another reading; ``paths`` are of the parts of the file that it is made of."""

    def __init__(self, image, label, mask, *paths):
        self.key = image, label, np.packbits(mask).tobytes()
        self.paths, self.covers = paths, mask.any()

    def touches(self, changed):
        """Whether a change may have been to it."""
        return any(
            path[: len(other)] == other[: len(path)] for path in self.paths for other in changed
        )


# === Formats ===


class Format:
    """One of the formats: an undamaged file, how it is read, and the other reading."""

    def right(self, text):
        """The objects of a file by the other reading; None where it is not JSON, or of another
        form.
        """
        try:
            return list(self.objects(read(text)))
        except Exception:
            return None

    def spares(self, one, changed):
        """Whether a change to the file leaves an object as it was."""
        return not one.touches(changed)

    def write_others(self, folder):
        for seed, name in enumerate(IMAGES):
            Image.fromarray(image(*SIZE, seed)).save(folder / name)

    def label(self, dataset, class_id):
        return dataset.class_info[class_id]["name"]


class Coco(Format):
    """Polygons, or run lengths."""

    def __init__(self, *segmentations):
        self.content = {
            "info": {"year": 2017},
            "images": [
                {"id": 10 + i, "file_name": name, "height": HEIGHT, "width": WIDTH}
                for i, name in enumerate(IMAGES)
            ],
            "categories": [{"id": 3, "name": "cat"}, {"id": 1, "name": "dog"}],
            "annotations": [
                {
                    "id": 100 + number,
                    "image_id": 10 + number % 3,
                    "category_id": 1 + number % 2 * 2,
                    "segmentation": segmentation,
                    "bbox": [4, 3, 16, 12],
                    "area": 192.0,
                    "iscrowd": int(number == 4),
                }
                for number, segmentation in enumerate(segmentations)
            ],
        }
        self.path = "instances_train.json"

    def load(self, folder, collect):
        dataset = CocoJson()
        dataset.load_coco_json(folder / self.path, folder, collect_errors=collect)
        return dataset

    def label(self, dataset, class_id):
        return text_of(dataset.class_info[abs(class_id)]["id"]), class_id < 0

    def place(self, content, path):
        """Words of which a message on a change has one."""
        if path[0] == "annotations" and len(path) > 1:
            return f"annotation {content['annotations'][path[1]]['id']}"
        return content[path[0]][path[1]].get("file_name") if path[0] == "images" else ""

    def objects(self, content):
        images = {text_of(one["id"]): (i, one) for i, one in enumerate(content["images"])}
        for one in content["images"]:
            number = text_of(one["id"])
            if number in images and images[number][1]["file_name"] != one["file_name"]:
                del images[number]  # it is unknown which of them has the objects
        classes = {text_of(one["id"]): i for i, one in enumerate(content["categories"])}
        for number, record in enumerate(content.get("annotations", [])):
            with contextlib.suppress(Exception):
                i, entry = images[text_of(record["image_id"])]
                label = text_of(record["category_id"])
                crowd = bool(record.get("iscrowd"))
                mask = self.mask(record["segmentation"], crowd)
                paths = ("annotations", number), ("images", i), ("categories", classes[label])
                yield Object(plain_name(entry["file_name"]), (label, crowd), mask, *paths)

    def mask(self, segmentation, crowd):
        if isinstance(segmentation, dict):
            counts = segmentation["counts"]
            if crowd and self.is_of_another_size(segmentation):  # as in the original
                return np.ones(SIZE, bool)
            runs = counts if isinstance(counts, list) else unpacked(counts)
            return mask_of_runs(runs, *segmentation["size"])
        rings = segmentation if isinstance(segmentation[0], list) else [segmentation]
        rings = [ring for ring in map(numbers, rings) if len(ring) >= 6]
        if any(len(ring) % 2 for ring in rings):
            raise ValueError(rings)
        return coco_mask.decode(coco_mask.frPyObjects(rings, *SIZE)).any(axis=2)

    def is_of_another_size(self, rle):
        size = rle["size"]
        whole = isinstance(size, list) and len(size) == 2 and {type(one) for one in size} <= {int}
        return whole and size != [*SIZE]


def run_lengths(packed):
    rle = coco_mask.encode(np.asfortranarray(BLOB, np.uint8))
    counts = rle["counts"].decode()
    return {"size": [*SIZE], "counts": counts if packed else unpacked(counts)}


class ViaJson(Format):
    def __init__(self, version):
        shapes = [
            {
                "name": "polygon",
                "all_points_x": TRIANGLE[::2],
                "all_points_y": TRIANGLE[1::2],
            },
            {"name": "rect", "x": 3, "y": 4, "width": 12, "height": 9},
            {"name": "circle", "cx": 15, "cy": 12, "r": 7.5},
            {"name": "ellipse", "cx": 15.5, "cy": 10, "rx": 12.25, "ry": 6, "theta": 0.5},
            {"name": "polyline", "all_points_x": [5, 25, 10], "all_points_y": [5, 9, 20]},
        ]
        regions = [
            {"shape_attributes": shape, "region_attributes": {"type": ("cat", "dog")[number % 2]}}
            for number, shape in enumerate(shapes)
        ]
        per_image = {"a.png": regions[:2], "b.png": regions[2:4], "c.png": regions[4:]}
        self.content = {
            f"{name}9": {
                "filename": name,
                "size": 9,
                "file_attributes": {},
                "regions": found if version == 2 else dict(zip("012", found)),
            }
            for name, found in per_image.items()
        }
        self.path = "via_region_data.json"

    def load(self, folder, collect):
        dataset = Via()
        dataset.load_via(folder / self.path, class_attribute="type", collect_errors=collect)
        return dataset

    def place(self, content, path):
        return content[path[0]]["filename"]

    def objects(self, content):
        for key, entry in content.items():
            regions = entry["regions"]
            items = regions.items() if isinstance(regions, dict) else enumerate(regions)
            for number, region in items:
                with contextlib.suppress(Exception):
                    label = region["region_attributes"]["type"]
                    if isinstance(label, dict):
                        (label,) = [name for name, on in label.items() if on]
                    label = str(label).strip()
                    mask = self.mask(region["shape_attributes"])
                    place = key, "regions", number
                    around = [(key, name) for name in ("filename", "size", "file_attributes")]
                    yield Object(plain_name(entry["filename"]), label, mask, place, *around)

    def mask(self, shape):
        mask = np.zeros(SIZE, bool)
        name = shape["name"]
        if name in ("polygon", "polyline"):
            ys, xs = numbers(shape["all_points_y"]), numbers(shape["all_points_x"])
            if len(xs) != len(ys) or len(xs) < 3:
                raise ValueError(shape)
            mask[draw.polygon(ys, xs, SIZE)] = True
        elif name == "rect":
            x, y, w, h = numbers([shape[key] for key in ("x", "y", "width", "height")])
            rows, columns = np.mgrid[:HEIGHT, :WIDTH]
            (x1, x2), (y1, y2) = sorted((x, x + w)), sorted((y, y + h))
            mask = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
        else:
            keys = ("r", "r") if name == "circle" else ("rx", "ry")
            cx, cy, rx, ry = numbers([shape[key] for key in ("cx", "cy", *keys)])
            (theta,) = numbers([shape.get("theta", 0) if name == "ellipse" else 0])
            if name not in ("circle", "ellipse"):
                raise ValueError(name)
            if rx > 0 and ry > 0:
                mask[draw.ellipse(cy, cx, ry, rx, SIZE, rotation=-theta)] = True
        return mask


def base64_of(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


class LabelmeJson(Format):
    """One of three files, whose image is inside."""

    def __init__(self):
        pairs = [SQUARE[i : i + 2] for i in range(0, 8, 2)]
        shapes = [
            {"label": "cat", "points": pairs, "shape_type": "polygon", "group_id": None},
            {"label": "dog", "points": [[3.3, 2], [20, 15.5]], "shape_type": "rectangle"},
            {"label": "cat", "points": [[15, 12], [20, 14]], "shape_type": "circle"},
            {"label": "cat", "points": [[2, 2], [9, 2], [9, 9]], "group_id": 4},
            {"label": "cat", "points": [[22, 12], [29, 12], [29, 19]], "group_id": 4},
            {
                "label": "dog",
                "points": [[5, 4], [14, 11]],
                "shape_type": "mask",
                "mask": base64_of(np.pad(np.full((4, 6), 255, np.uint8), 2)),
            },
        ]
        self.content = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": "b.png",
            "imageData": base64_of(image(*SIZE, 1)),
            "imageHeight": HEIGHT,
            "imageWidth": WIDTH,
        }
        self.path = "b.json"

    def write_others(self, folder):
        for seed, name in ((0, "a"), (2, "c")):
            Image.fromarray(image(*SIZE, seed)).save(folder / f"{name}.png")
            (folder / f"{name}.json").write_text(json.dumps(self.other(f"{name}.png")))

    def other(self, name):
        shapes = self.content["shapes"][1:4]
        return {**self.content, "imagePath": name, "imageData": None, "shapes": shapes}

    def load(self, folder, collect):
        dataset = Labelme()
        dataset.load_labelme(folder, collect_errors=collect)
        return dataset

    def place(self, content, path):
        return "shape " + "".join(map(str, path[1:2])) if path[0] == "shapes" else ""

    def objects(self, content):
        """Of a file that is none those of the others."""
        yield from self.objects_of_others
        if content is not None:
            yield from self.objects_of(content)

    def spares(self, one, changed):
        # a shape without a label or points makes the whole file wrong
        apart = (
            len(one.paths) == 1 and isinstance(one.paths[0][0], str) and one.paths[0][0] != "shapes"
        )
        return apart or (super().spares(one, changed) and min(map(len, changed)) > 3)

    def right(self, text):
        return super().right(text) or list(self.objects(None))

    @cached_property
    def objects_of_others(self):
        names = "a.png", "c.png"
        return [one for name in names for one in self.objects_of(self.other(name), name)]

    def objects_of(self, content, other=None):
        groups = collections.defaultdict(list)
        for number, shape in enumerate(content["shapes"]):
            with contextlib.suppress(Exception):
                mask, group = self.mask(shape), shape.get("group_id")
                if shape["label"] and isinstance(shape["label"], str):
                    key = shape["label"], number if group is None else ("group", group)
                    groups[key].append((number, mask))
        for (label, _), parts in groups.items():
            places = [("shapes", number) for number, _ in parts]
            around = [(name,) for name in self.content if name != "shapes"]
            mask = np.any([mask for _, mask in parts], axis=0)
            paths = [(other,)] if other else [*places, *around]
            yield Object(plain_name(content["imagePath"]), label, mask, *paths)

    def mask(self, shape):
        kind = shape.get("shape_type") or "polygon"
        mask = np.zeros(SIZE, bool)
        if not all(len(point) == 2 and isinstance(point, list) for point in shape["points"]):
            raise ValueError(shape)
        xs = numbers([point[0] for point in shape["points"]])
        ys = numbers([point[1] for point in shape["points"]])
        rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        if kind == "polygon" or (kind == "rectangle" and len(xs) == 4):
            if len(xs) > 2:
                mask[draw.polygon(np.subtract(ys, 0.5), np.subtract(xs, 0.5), SIZE)] = True
        elif kind == "mask":
            content = base64.b64decode(shape["mask"], validate=True)
            pixels = mask_of_picture(np.array(Image.open(io.BytesIO(content))))
            whole = np.zeros((3000, 3000), bool)
            y, x = 1000 + round(min(ys)), 1000 + round(min(xs))
            if 0 <= min(y, x) and max(y, x) < 2900:
                whole[y : y + pixels.shape[0], x : x + pixels.shape[1]] = pixels
            mask = whole[1000 : 1000 + HEIGHT, 1000 : 1000 + WIDTH]
        else:
            (x1, x2), (y1, y2) = xs, ys
            if kind == "rectangle":
                (x1, x2), (y1, y2) = sorted(xs), sorted(ys)
                mask = (columns >= x1) & (columns < x2) & (rows >= y1) & (rows < y2)
            elif kind == "circle":
                radius = (x2 - x1) ** 2 + (y2 - y1) ** 2
                mask = (columns - x1) ** 2 + (rows - y1) ** 2 < radius
            else:
                raise ValueError(kind)
        return mask


FORMATS = {
    "polygons": Coco([SQUARE], [TRIANGLE], [SQUARE, TRIANGLE], [TRIANGLE], [SQUARE], [SQUARE]),
    "runs": Coco(*[run_lengths(packed) for packed in (True, False, True, True, False, False)]),
    "via1": ViaJson(1),
    "via2": ViaJson(2),
    "labelme": LabelmeJson(),
}
