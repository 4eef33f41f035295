"""The functions and classes of ``mrcnn`` that the cases call: ``from names import load_image_gt``.

With ``run.py --against`` a case runs on two versions of the package, in which a module may have
different names. This table has, for each name, the modules where it is looked for, today's first.
Where matterport's modules (``mrcnn.model``, ``mrcnn.config``, ``mrcnn.utils``) have what a case
needs, it is imported from there instead: those names stay.
"""

import importlib

MODULES = {
    "RecordDataset": ("data.cache.dataset", "records.dataset"),
    "TrainingBatches": ("data.batches", "data.pipeline"),
    "TrainingData": ("training.data",),
    "build_rpn_targets": ("data.rpn_targets",),
    "compute_ap": ("evaluation",),
    "compute_ap_range": ("evaluation",),
    "compute_overlaps": ("ops.boxes_np",),
    "compute_overlaps_masks": ("data.masks",),
    "Dataset": ("data.dataset",),
    "decode_masks": ("data.rle",),
    "encode_masks": ("data.rle",),
    "extract_bboxes": ("data.masks",),
    "load_image_gt": ("data.load", "data.samples"),
    "open_dataset": ("data", "data.formats"),
    "mold_inputs": ("inference.detect", "inference"),
    "pyramid_anchors": ("ops.anchors",),
    "record_pipeline": ("data.cache.read", "records.pipeline"),
    "training_data": ("training.data",),
    "unmold_detections": ("inference.unmold", "inference.detect", "inference"),
    "write_records": ("data.cache.write", "records.write"),
}


def __getattr__(name):
    for module in MODULES.get(name, ()):
        module = f"mrcnn.{module}"
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            # a package that the module needs is missing, not the module
            if not f"{module}.".startswith(f"{error.name}."):
                raise
            continue
        if hasattr(found, name):
            return getattr(found, name)
    raise AttributeError(f"benchmarks/names.py knows no module of this mrcnn that has {name!r}")
