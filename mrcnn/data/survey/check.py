"""Look a data set over before training on it: every image is opened and every mask drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mrcnn.common.tables import format_table
from mrcnn.common.words import option_or_argument, some
from mrcnn.config import Config
from mrcnn.data.crowds import distinct_regions
from mrcnn.data.image_range import used_bits
from mrcnn.data.images import as_uint8_range
from mrcnn.data.labels import call_load_labels, labels_of_parts, void_label
from mrcnn.data.load import (
    call_load_image,
    call_load_mask,
    checked_class_ids,
    checked_mask,
    describe_error,
    describe_image,
)
from mrcnn.data.masks import extract_bboxes
from mrcnn.data.survey.each_image import each_image
from mrcnn.data.survey.objects import why_no_object
from mrcnn.data.survey.pixels import PixelShares, counts_with_void, shares_of_counts

if TYPE_CHECKING:
    from mrcnn.data.dataset import Dataset


ERROR, WARNING = "error", "warning"
# A largest value up to this one, of 255, is nearly black: so 10 and 12-bit images look that were
# saved as 16-bit, and then as 8-bit. Of 16-bit images `used_bits` tells more.
NEARLY_BLACK = 16
# Objects of an image that every setting's default takes.
MOST = min(Config.MAX_GT_INSTANCES, Config.DETECTION_MAX_INSTANCES)
# So many masks and more, all of them rectangles, are likely boxes.
LIKELY_BOXES = 10
# Places of a kind of finding that the table names.
EXAMPLES = 3
# Kinds of findings that leave open what objects an image has.
_UNKNOWN = "masks cannot be drawn", "masks or class ids wrong"


class Finding(NamedTuple):
    """One thing that is wrong."""

    # "error": training would stop, skip the image or learn something wrong; "warning": it would go
    # on
    severity: str
    kind: str
    place: str  # which image, class or file
    message: str  # what exactly, "" where the kind says it


class CheckReport(NamedTuple):
    """What `Dataset.check` found; ``str()`` of it is a table, `exit_code` for a command line."""

    images: int
    objects: int
    findings: list[Finding]
    names: dict[str, str]  # {place of a finding: path of its image}, for the table
    pixels: PixelShares  # of the images whose masks can be used; crowds are void

    @property
    def errors(self) -> list[Finding]:
        """The findings to mend before training."""
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def ok(self) -> bool:
        """True where nothing is to be mended before training; there may be warnings."""
        return not self.errors

    @property
    def exit_code(self) -> int:
        """0 or, with errors, 1."""
        return 0 if self.ok else 1

    def to_dict(self) -> dict[str, Any]:
        """All of it, as JSON takes it: images, objects, ok, findings, a list of dicts of severity,
        kind, place and message, and pixels, see `PixelShares.to_dict`.
        """
        return {
            "images": self.images,
            "objects": self.objects,
            "ok": self.ok,
            "findings": [finding._asdict() for finding in self.findings],
            "pixels": self.pixels.to_dict(),
        }

    def __str__(self) -> str:
        count = len(self.errors)
        errors = f"{count} error{'s' if count > 1 else ''}"
        verdict = "fit for training" if self.ok else f"not fit for training, {errors}"
        total = f"Checked {self.images} images with {self.objects} objects: {verdict}"
        if not self.findings:
            return f"{total}, nothing found"
        kinds: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            kinds.setdefault((finding.severity, finding.kind), []).append(finding)
        rows: list[list[object]] = [["", "what", "count", "examples"]]
        rows += [
            [severity, kind, len(found), self._examples(found)]
            for (severity, kind), found in sorted(kinds.items())
        ]
        return f"{format_table(rows)}\n{total}"

    def _examples(self, found):
        """The first finding whole, then a few other places of its kind."""
        first, *others = dict.fromkeys(self.names.get(one.place, one.place) for one in found)
        whole = ": ".join(part for part in (first, found[0].message) if part)
        return f"{whole}; also {some(others, EXAMPLES - 1)}" if others else whole


def check_dataset(
    dataset: Dataset, image_ids: Sequence[int], progress: bool = True, workers: int = 1
) -> CheckReport:
    """The `CheckReport` of a prepared Dataset.

    Errors: an image that cannot be read or has NaN or values outside of 0..255; masks that cannot
    be drawn, are NaN or of another size than the image; class ids that are not the dataset's; an
    image id that a source has twice; no object to learn; boxes without a mask, which a reader left
    out. Warnings: images nearly black, images without objects, objects without a pixel, objects and
    images that are there twice, crowds, masks that are all rectangles, more objects on an image
    than training takes by default, classes without objects, class names that differ in case or
    spaces only, masks that the reader doubts, and what else it left out.

    The findings and their order do not depend on the number of workers.

    Args and more as `Dataset.check`.
    """
    image_ids = list(dict.fromkeys(image_ids))  # each once
    findings = _repeated_ids(dataset, image_ids)
    digests: dict[tuple[bytes, tuple[int, ...]], str] = {}
    met: set[int] = set()
    objects = learnable = crowds = rectangles = 0
    counts: list[np.ndarray] = []
    many: list[tuple[int, str]] = []  # (objects, place) of images with more than MOST
    look_at = partial(_look_at, dataset)
    for look in each_image(dataset, look_at, image_ids, "Checking", progress, workers):
        findings += look.findings
        if look.pixels is not None:
            twin = digests.setdefault(look.pixels, look.place)
            if twin is not look.place:
                findings.append(
                    Finding(WARNING, "image there twice", look.place, f"the same pixels as {twin}")
                )
        if look.counts is not None:
            counts.append(look.counts)
        own, some_pixels = look.class_ids > 0, look.areas > 0
        met.update(look.class_ids[own].tolist())
        objects += len(own)
        crowds += int((~own).sum())
        learnable += int((own & some_pixels).sum())
        rectangles += int((own & some_pixels & (look.areas == look.box_areas)).sum())
        if len(own) > MOST:
            many.append((len(own), look.place))
    if not (learnable or any(finding.kind in _UNKNOWN for finding in findings)):
        why = why_no_object(dataset, len(image_ids), crowds)
        findings.append(Finding(ERROR, "nothing to learn", "", why))
    if rectangles == learnable >= LIKELY_BOXES:
        findings.append(
            Finding(
                WARNING,
                "all masks are rectangles",
                "",
                f"{learnable} of them: a network learns boxes from boxes, not outlines",
            )
        )
    findings += [
        Finding(
            WARNING,
            f"more than {MOST} objects",
            place,
            f"{count} objects, of which training takes a random {Config.MAX_GT_INSTANCES} and "
            f"detection finds {Config.DETECTION_MAX_INSTANCES} at most, unless MAX_GT_INSTANCES "
            "and DETECTION_MAX_INSTANCES are raised",
        )
        for count, place in sorted(many, reverse=True)  # the first is shown
    ]
    for class_id, name in enumerate(dataset.class_names):
        if class_id and class_id not in met:
            findings.append(
                Finding(WARNING, "class without objects", f"class {class_id} ({name!r})", "")
            )
    alike: dict[str, dict[str, None]] = {}
    for name in dataset.class_names[1:]:
        alike.setdefault(" ".join(name.split()).casefold(), {})[name] = None
    findings += [
        Finding(
            WARNING,
            "class names differ in case or spaces only",
            some(map(repr, names)),
            "each is a class of its own; if they are one, spell it alike in all annotations",
        )
        for names in alike.values()
        if len(names) > 1
    ]
    left_out = getattr(dataset, "left_out", None)
    spoiling = getattr(left_out, "spoiling", ())
    # sorted, because threads met some of them
    for reason, places in sorted(getattr(left_out, "places", {}).items()):
        severity = ERROR if reason in spoiling else WARNING
        findings += [
            Finding(severity, f"left out: {reason}", place, "") for place in sorted(places)
        ]
    paths = ((image_id, dataset.image_info[image_id].get("path")) for image_id in image_ids)
    names = {describe_image(dataset, image_id): str(path) for image_id, path in paths if path}
    return CheckReport(
        len(image_ids), objects, findings, names, shares_of_counts(dataset.class_names, counts)
    )


class _Look(NamedTuple):
    """What one image has, without its pixels."""

    place: str
    findings: list[Finding]
    pixels: tuple[bytes, tuple[int, ...]] | None  # their digest and shape; None where unread
    class_ids: np.ndarray  # int [objects]; none where the masks cannot be used
    areas: np.ndarray  # int [objects] px
    box_areas: np.ndarray  # int [objects] px
    counts: np.ndarray | None  # of `counts_with_void`; None where the masks cannot be used


def _look_at(dataset, image_id):
    """Open one image and draw its masks: a `_Look`."""
    place = describe_image(dataset, image_id)
    findings: list[Finding] = []
    image = _attempt(findings, "image cannot be read", place, call_load_image, dataset, image_id)
    loaded = _attempt(findings, "masks cannot be drawn", place, call_load_mask, dataset, image_id)
    digest = None
    if image is not None:
        values = _attempt(
            findings, "pixels out of range", place, as_uint8_range, image, dataset.image_range
        )
        if values is not None:
            findings += _dark(dataset, image_id, image, values, place)
        if image.dtype.kind in "biuf":  # of others no pixels can be had
            pixels = np.ascontiguousarray(image).data
            digest = hashlib.sha1(pixels, usedforsecurity=False).digest(), image.shape
    checked = None
    if loaded is not None:
        kind = "masks or class ids wrong"
        checked = _attempt(
            findings, kind, place, _checked, dataset, *loaded, image, place, findings
        )
    if checked is None:
        none = np.zeros(0, int)
        return _Look(place, findings, digest, none, none, none, None)
    doubts = _attempt(findings, "masks cannot be drawn", place, dataset.mask_doubts, image_id)
    findings += [Finding(WARNING, kind, place, what) for kind, what in doubts or ()]
    class_ids, areas, box_areas, size, parts = checked
    counts = _attempt(
        findings, "labels wrong", place, _pixel_counts, dataset, image_id, class_ids, size, parts
    )
    return _Look(place, findings, digest, class_ids, areas, box_areas, counts)


def _dark(dataset, image_id, image, values, place):
    """A finding of an image whose values use little of their range."""
    path = str(dataset.image_info[image_id]["path"])
    bits = None
    if dataset.image_range is None:  # of the file, or of an image of the user's
        bits = dataset.few_bits.images.get(path) or used_bits(image)
    if not values.size or (bits is None and values.max() > NEARLY_BLACK):
        return []
    what = (
        f"its largest value is {values.max():g} of 255; 10 and 12-bit images must be scaled when "
        "they are saved as 16-bit"
    )
    if bits is not None:
        most = 2**bits - 1
        what += ", or read with their range, such as " + option_or_argument(
            f"--image-range 0 {most}", f"image_range = (0, {most})"
        )
    return [Finding(WARNING, "image nearly black", place, what)]


def _attempt(findings, kind, place, function, *args):
    """What the function returns; an exception becomes a finding and None."""
    try:
        return function(*args)
    except Exception as error:  # a user's load_mask can raise any
        findings.append(Finding(ERROR, kind, place, describe_error(error)))
        return None


def _checked(dataset, masks, class_ids, image, place, findings):
    """The class ids of one image, the pixels of each object and of its box, and its size and the
    `rle.Part` of each object, once its masks have been looked at.
    """
    size = masks.shape[:2] if image is None or image.ndim < 2 else image.shape[:2]
    masks = checked_mask(masks, class_ids, size)
    class_ids = checked_class_ids(class_ids, len(dataset.class_info))
    if not len(class_ids):
        findings.append(Finding(WARNING, "image without objects", place, ""))
        return class_ids, np.zeros(0, int), np.zeros(0, int), size, []
    rows, class_ids = distinct_regions(masks, class_ids)
    boxes = extract_bboxes(masks)[rows]
    parts = [
        masks[y1:y2, x1:x2, index] for index, (y1, x1, y2, x2) in zip(rows.tolist(), boxes.tolist())
    ]
    areas = np.array([np.count_nonzero(part) for part in parts])
    alike: dict[tuple[int, ...], dict[int, np.ndarray]] = {}
    mark, remedy = dataset.crowd_words()
    for index, part, box, area, class_id in zip(
        rows.tolist(), parts, boxes.tolist(), areas.tolist(), class_ids.tolist()
    ):
        if not area:
            findings.append(Finding(WARNING, "object without a pixel", place, f"object {index}"))
            continue
        if class_id < 0:
            findings.append(
                Finding(
                    WARNING,
                    "crowd, which is not learned",
                    place,
                    f"object {index} ({mark})" + (f"; {remedy}" if remedy else ""),
                )
            )
        others = alike.setdefault((*box, area, class_id), {})
        twin = next((one for one, other in others.items() if (other == part).all()), None)
        if twin is not None:
            findings.append(
                Finding(
                    WARNING, "object there twice", place, f"objects {twin} and {index} are the same"
                )
            )
        others[index] = part
    box_areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    corners = boxes[:, :2].tolist()
    return class_ids, areas, box_areas, size, [(part, *at) for part, at in zip(parts, corners)]


def _pixel_counts(dataset, image_id, class_ids, size, parts):
    """`counts_with_void` of an image, whose objects are those parts."""
    count = len(dataset.class_info)
    if dataset.knows_labels(image_id):
        labels = call_load_labels(dataset, image_id)
    else:
        labels = labels_of_parts(parts, class_ids, size, void=void_label(count))
    return counts_with_void(labels, count)


def _repeated_ids(dataset, image_ids):
    """Findings of images whose source has two of their id: only one of them can be looked up."""
    seen: dict[tuple[str, int | str], int] = {}
    findings = []
    for image_id in image_ids:
        info = dataset.image_info[image_id]
        key = info["source"], info["id"]
        if key in seen:
            findings.append(
                Finding(
                    ERROR,
                    "image id there twice",
                    describe_image(dataset, image_id),
                    f"image {seen[key]} has the same source and id",
                )
            )
        seen.setdefault(key, image_id)
    return findings
