"""The methods that MaskRCNN has for code written for the original alone.

The original found tensors by walking TensorFlow's graph. Keras 3 has no such graph to walk, so
`ancestor` gives a `inference.inspection.Step` for a value inside a layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from mrcnn.common.keras_internals import layers_before
from mrcnn.config import Config
from mrcnn.inference.detect import mold_inputs
from mrcnn.inference.inspection import Step, check_inference_network, run
from mrcnn.inference.unmold import results, unmold_detections
from mrcnn.matterport.layer_views import LayerView
from mrcnn.networks.mask_rcnn.detections import DetectionLayer, DetectionSteps
from mrcnn.networks.mask_rcnn.proposals import ProposalLayer
from mrcnn.ops.anchors import pyramid_anchors
from mrcnn.ops.boxes_np import norm_boxes

# The values inside a layer, by the name that `ancestor` knows them by and the field of what the
# layer's ``steps`` returns. Those of the proposal layer are what the original's notebooks ask for;
# the NMS kernel's name changed with TensorFlow's version.
_STEPS = {
    ProposalLayer: {
        r"pre_nms_anchors": "pre_nms_anchors",
        r"refined_anchors": "refined_anchors",
        r"refined_anchors_clipped": "refined_anchors_clipped",
        r"rpn_non_max_suppression(/NonMaxSuppression(V\d)?)?": "nms_indices",
    },
    DetectionLayer: {field: field for field in DetectionSteps._fields},
}


# Image shapes whose anchors are kept; those of 1024 px take 12 MB.
ANCHOR_SHAPES = 16


def log(text: str, array: np.ndarray | None = None) -> None:
    """Print a line about an array: its shape, range and type."""
    if array is not None:
        span = (
            f"min: {array.min():10.5f}  max: {array.max():10.5f}"
            if array.size
            else f"min: {'':10}  max: {'':10}"
        )
        text = f"{text.ljust(25)}shape: {array.shape!s:20}  {span}  {array.dtype}"
    print(text)


class MatterportMethods:
    """A part of `MaskRCNN`: methods under the original's names."""

    # of `MaskRCNN`
    config: Config
    keras_model: keras.Model
    predict: Callable[..., tuple[np.ndarray, np.ndarray]]
    _anchor_shape: tuple[int, ...] | None
    _anchor_cache: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]
    _needs_inference_mode: Callable[[str], None]

    def mold_inputs(self, images):
        """Images of one molded size as a batch; see `inference.detect.mold_inputs`."""
        return mold_inputs(images, self.config)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """See `inference.unmold.unmold_detections`."""
        return unmold_detections(
            detections,
            mrcnn_mask,
            original_image_shape,
            image_shape,
            window,
            self.config.BOX_SHIFT,
            self.config.MASK_PASTE,
        )

    def detect_molded(self, molded_images, image_metas, verbose=0):
        """`detect` on images that are molded already (resized, padded, mean subtracted).

        Args:
            molded_images: [b, h, w, c].
            image_metas: [b, 12 + classes].

        Returns:
            As `detect`, in the pixels of the molded images.
        """
        self._needs_inference_mode("detect_molded")
        molded_images = np.asarray(molded_images, np.float32)
        if verbose:
            log("molded_images", molded_images)
            log("image_metas", np.asarray(image_metas))
        detections, masks = self.predict(molded_images, image_metas)
        shape = molded_images.shape[1:]
        return results(
            detections,
            masks,
            [shape] * len(molded_images),
            shape,
            [(0, 0, *shape[:2])] * len(molded_images),
            self.config.CLASS_NAMES,
            self.config.BOX_SHIFT,
            self.config.MASK_PASTE,
        )

    def get_anchors(self, image_shape: Sequence[int]) -> NDArray[np.float32]:
        """Anchors of an image shape, made once: float32 [anchors, 4] normalised."""
        self._anchor_shape = tuple(image_shape)
        return self._anchors_of(image_shape)[1]

    @property
    def anchors(self) -> NDArray[np.float64] | None:
        """See `MaskRCNN`."""
        return None if self._anchor_shape is None else self._anchors_of(self._anchor_shape)[0]

    def _anchors_of(self, image_shape):
        """Anchors float64 [anchors, 4] px, and float32 normalised."""
        key = tuple(int(size) for size in image_shape)
        found = self._anchor_cache.get(key)  # another thread may take it out of the cache meanwhile
        if found is None:
            if len(self._anchor_cache) >= ANCHOR_SHAPES:
                self._anchor_cache.pop(next(iter(self._anchor_cache)), None)
            pixels = pyramid_anchors(self.config, key)
            found = self._anchor_cache[key] = (
                pixels,
                norm_boxes(pixels, key[:2], self.config.BOX_SHIFT),
            )
        return found

    def find_trainable_layer(self, layer):
        """The layer that holds the weights: here always the layer itself."""
        return layer

    def get_trainable_layers(self):
        """All layers with weights, whose names are those of the original; the RPN counts as one."""
        return [LayerView(layer) for layer in self.keras_model.layers if layer.weights]

    def ancestor(self, tensor, name, checked=None):
        """Find a tensor that another one is computed from; see `ancestor` of this module."""
        del checked  # the original's own bookkeeping
        return ancestor(self.keras_model, tensor, name)

    def run_graph(self, images, outputs, image_metas=None):
        """Values of tensors of the model for images, each of which is also logged.

        Args:
            images: list of images; molded ones where ``image_metas`` are given.
            outputs: list of (name, tensor or token of `ancestor`).
            image_metas: [b, 12 + classes].

        Returns:
            OrderedDict of name -> array.
        """
        self._needs_inference_mode("run_graph")
        check_inference_network(self.keras_model, "run_graph")
        if image_metas is None:
            molded, image_metas, _ = self.mold_inputs(images)
        else:
            molded = np.asarray(images, np.float32)
        values = run(self.keras_model, [molded, image_metas, self._batch_anchors(molded)], outputs)
        for name, value in values.items():
            log(name, value)
        return values

    def _batch_anchors(self, molded_images):
        anchors = self.get_anchors(molded_images.shape[1:])
        return np.broadcast_to(anchors, (len(molded_images), *anchors.shape))


def ancestor(
    model: keras.Model, tensor: keras.KerasTensor, name: str
) -> keras.KerasTensor | Step | None:
    """Find a tensor that another one is computed from, by the name it had in the original.

    Args:
        model: a Keras model.
        tensor: KerasTensor of the model to start from.
        name: such as "ROI/refined_anchors:0", "mrcnn_detection/refined_rois" or "res2c_out/Relu:0".

    Returns:
        `Step` for a value inside the proposal or the detection layer, the output of a layer of that
        name, or None where ``tensor`` does not depend on such a layer.
    """
    layer_name, _, inner = name.split(":")[0].partition("/")
    layer = next((layer for layer in model.layers if layer.name == layer_name), None)
    if layer is None or layer not in layers_before(tensor):
        return None
    steps = next((known for kind, known in _STEPS.items() if isinstance(layer, kind)), None)
    if steps and inner:
        fields = [field for pattern, field in steps.items() if re.fullmatch(pattern, inner)]
        return Step(layer_name, fields[0]) if fields else None
    return layer.output
