"""Names of COCO's 80 object classes, in the order of their ids, after the background."""

from mrcnn.config.coco_names import COCO_NAMES_BY_ID

COCO_CLASSES = [name for name in COCO_NAMES_BY_ID if name != "N/A"]
