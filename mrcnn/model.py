"""MaskRCNN: build, train and run the network.

A facade: it holds a model, its settings and its files, and leaves every computation to
the module whose name says what it does. The names that matterport's ``model`` module
had are importable from here.
"""

import importlib.util
import os

import keras
import numpy as np
import tensorflow as tf

from mrcnn import training
from mrcnn.data.detection_targets import build_detection_targets, generate_random_rois  # noqa: F401
from mrcnn.data.images import mold_image, unmold_image  # noqa: F401
from mrcnn.data.meta import compose_image_meta, parse_image_meta  # noqa: F401
from mrcnn.data.pipeline import data_generator  # noqa: F401
from mrcnn.data.rpn_targets import build_rpn_targets  # noqa: F401
from mrcnn.data.samples import load_image_gt  # noqa: F401
from mrcnn.distribution import SGD, device_strategy, scope
from mrcnn.download import IMAGENET_WEIGHTS, cache_folder, imagenet_weights
from mrcnn.graph_functions import *  # noqa: F401, F403
from mrcnn.inference import batches_of_one_shape, mold, mold_inputs, results, unmold_detections
from mrcnn.inspection import LayerView, ancestor
from mrcnn.inspection import run as run_model
from mrcnn.layers.detection import DetectionLayer  # noqa: F401
from mrcnn.layers.normalization import BatchNorm  # noqa: F401
from mrcnn.layers.proposal import ProposalLayer  # noqa: F401
from mrcnn.layers.roi_align import PyramidROIAlign  # noqa: F401
from mrcnn.layers.targets import DetectionTargetLayer  # noqa: F401
from mrcnn.network.applications import application_imagenet_weights
from mrcnn.network.assemble import inference_model, training_model
from mrcnn.network.backbone import conv_block, identity_block, resnet_graph  # noqa: F401
from mrcnn.network.heads import build_fpn_mask_graph, fpn_classifier_graph  # noqa: F401
from mrcnn.network.rpn import build_rpn_model, rpn_graph  # noqa: F401
from mrcnn.ops.anchors import compute_backbone_shapes, pyramid_anchors  # noqa: F401
from mrcnn.ops.boxes_np import norm_boxes
from mrcnn.run_folder import find_last_checkpoint, run_folder
from mrcnn.weights import load_h5, save_h5


# Image shapes whose anchors are kept; those of 1024 px take 12 MB.
ANCHOR_SHAPES = 16


def log(text, array=None):
    """Print a line about an array: its shape, range and type."""
    if array is not None:
        span = f"min: {array.min():10.5f}  max: {array.max():10.5f}" if array.size else f"min: {'':10}  max: {'':10}"
        text = f"{text.ljust(25)}shape: {str(array.shape):20}  {span}  {array.dtype}"
    print(text)


class MaskRCNN:
    """Mask R-CNN for one ``Config``.

    Args:
        mode: "training" or "inference".
        config: a ``Config``.
        model_dir: folder of the training runs' folders.

    Attributes:
        keras_model: the `keras.Model`; see `network.assemble`.
        epoch, log_dir, checkpoint_path: of the current run; see `run_folder`.
        anchors: float64 [anchors, 4] px, of the last `get_anchors`.
    """

    def __init__(self, mode, config, model_dir):
        if mode not in ("training", "inference"):
            raise ValueError(f"mode is {mode!r}; use 'training' or 'inference'")
        self.mode = mode
        self.config = config
        self.model_dir = model_dir
        self.anchors = None
        self._anchor_cache = {}
        self._predict = None
        self._strategy = None
        self.set_log_dir()
        self.keras_model = self.build(mode=mode, config=config)

    def build(self, mode, config):
        """A new Keras model for a mode and a config; see `network.assemble`."""
        config.validate()
        if config.SEED is not None:
            keras.utils.set_random_seed(config.SEED)
        if mode == "inference":
            return inference_model(config)
        self._strategy = device_strategy(config.GPU_COUNT) if config.GPU_COUNT > 1 else None
        with scope(self._strategy):
            return training_model(config)

    # === Files ===

    def set_log_dir(self, model_path=None):
        """Choose the run's folder: of the run that a checkpoint comes from, or a new one."""
        name = self.config.NAME or "mask_rcnn"
        self.log_dir, self.checkpoint_path, self.epoch = run_folder(self.model_dir, name, model_path)

    def find_last(self):
        """Path of the last checkpoint of the newest run; see `run_folder.find_last_checkpoint`."""
        return find_last_checkpoint(self.model_dir, self.config.NAME or "mask_rcnn")

    def load_weights(self, filepath, by_name=False, exclude=None):
        """Load a .h5 file in the original's layout.

        Args:
            filepath: of the training or the inference model, with ImageNet or COCO weights ...
            by_name: False asks that the file has every layer of the model.
            exclude: names of layers to leave at their values; implies ``by_name``.

        Returns:
            `weights.LoadReport`, which is also printed.

        Raises:
            FileNotFoundError, ValueError: see `weights.load_h5`.
        """
        report = load_h5(self.keras_model, filepath, by_name=bool(by_name or exclude), exclude=exclude)
        print(report)
        self.set_log_dir(filepath)
        return report

    def save_weights(self, filepath):
        """Write the weights in the original's layout, whole or not at all."""
        save_h5(self.keras_model, filepath)

    def get_imagenet_weights(self):
        """Path of ImageNet weights for the backbone, downloaded on first use."""
        if self.config.BACKBONE in IMAGENET_WEIGHTS:
            return imagenet_weights(self.config.BACKBONE)
        if callable(self.config.BACKBONE):
            raise ValueError("BACKBONE is a function of yours: load its weights by their path")
        return application_imagenet_weights(self.config.BACKBONE, cache_folder())

    # === Training ===

    def compile(self, learning_rate, momentum):
        """Make the optimizer: SGD whose gradients are clipped by their common norm.

        Layers that an earlier call trained too keep their momentum.
        """
        model, earlier = self.keras_model, getattr(self.keras_model, "optimizer", None)
        with scope(self._strategy):
            optimizer = SGD(learning_rate, momentum, global_clipnorm=self.config.GRADIENT_CLIP_NORM)
            # crop_and_resize and NMS have no XLA kernel, and Keras would choose XLA on a GPU
            model.compile(optimizer, jit_compile=False)
            training.keep_slots(earlier, optimizer, model.trainable_variables)

    def set_trainable(self, layer_regex, keras_model=None, indent=0, verbose=1):
        """Train the layers whose names match, freeze the others."""
        trained = training.set_trainable(keras_model or self.keras_model, layer_regex)
        if verbose > 0:
            for layer in trained:
                print(f"{' ' * indent}{layer.name:20}   ({type(layer).__name__})")

    def train(self, train_dataset, val_dataset, learning_rate, epochs, layers, augmentation=None,
              custom_callbacks=None, no_augmentation_sources=None, *, workers=1, verbose="auto"):
        """Train some layers up to an epoch.

        Args:
            train_dataset, val_dataset: prepared `Dataset`s; ``val_dataset`` None leaves validation out.
            learning_rate: of SGD.
            epochs: the epoch to end with, counted over all calls, not the number of epochs of
                this call; where it is reached already, nothing is trained.
            layers: "heads", "3+", "4+", "5+", "all", or a regular expression of layer names.
            augmentation: imgaug augmenter or a callable (image, masks) -> (image, masks).
            custom_callbacks: Keras callbacks.
            no_augmentation_sources: sources of images to leave as they are.
            workers: threads that prepare batches.
            verbose: of ``fit``.

        Returns:
            keras.callbacks.History, with the losses weighted by LOSS_WEIGHTS.

        Raises:
            ValueError: the model is not a training model, a data set has no images, or its classes
                or images do not fit the config.
            FloatingPointError: a loss is NaN or infinite; the message names the images.
        """
        if self.mode != "training":
            raise ValueError(f"the model was made in mode {self.mode!r}; train needs mode='training'")
        if not self.config.NAME:
            raise ValueError("NAME is None: give the config a NAME, after which the run's folder is called")
        if epochs <= self.epoch:
            # a script of several stages that goes on from a checkpoint passes its first stages like this
            print(f"Nothing to train: epochs={epochs} is the epoch to end with, and {self.epoch} are trained already")
            history = keras.callbacks.History()
            history.on_train_begin()
            return history
        config, model = self.config, self.keras_model
        data = training.training_data(
            model, train_dataset, config, config.STEPS_PER_EPOCH, epoch=self.epoch, workers=workers,
            augmentation=augmentation, no_augmentation_sources=no_augmentation_sources)
        validation = None
        if val_dataset is not None:
            validation = training.training_data(model, val_dataset, config, config.VALIDATION_STEPS, repeat=True,
                                                workers=workers)

        os.makedirs(self.log_dir, exist_ok=True)
        print(f"Training {layers} to epoch {epochs}, from epoch {self.epoch}, learning rate {learning_rate}: "
              f"{self.checkpoint_path}")
        self.set_trainable(training.STAGES.get(layers, layers), verbose=0)
        self.compile(learning_rate, config.LEARNING_MOMENTUM)
        callbacks = [
            training.CountEpochs(data),
            training.StopOnBadLoss(data),
            training.TellWhatIsLeftOut(data),
            training.WeightsCheckpoint(self.checkpoint_path),
            keras.callbacks.CSVLogger(os.path.join(self.log_dir, "losses.csv"), append=True),
            *([keras.callbacks.TensorBoard(self.log_dir, write_graph=False)] if _has("tensorboard") else ()),
            *(custom_callbacks or ()),
        ]
        with training.own_errors(data, validation):
            # the data set shuffles its images; Keras would shuffle the batches once more, without the seed
            history = model.fit(data, initial_epoch=self.epoch, epochs=epochs, validation_data=validation,
                                callbacks=callbacks, verbose=verbose, shuffle=False)
        self.epoch += len(history.epoch)  # fewer than asked for where a callback stopped early
        return history

    # === Detection ===

    def mold_inputs(self, images):
        """Images of one molded size as a batch; see `inference.mold_inputs`."""
        return mold_inputs(images, self.config)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """See `inference.unmold_detections`."""
        return unmold_detections(detections, mrcnn_mask, original_image_shape, image_shape, window)

    def detect(self, images, verbose=0):
        """Find the objects in images.

        Args:
            images: any number of arrays [h, w] or [h, w, c], of any sizes and number types;
                see `data.images.as_uint8_range`. They are run BATCH_SIZE at a time.
            verbose: 1 prints the shapes of what goes in.

        Returns:
            A dict per image, in order: rois int32 [n, 4] (y1, x1, y2, x2) px, class_ids int32
            [n], scores float32 [n], masks bool [h, w, n] (float64 where n is 0, as the original has it).
        """
        self._needs_inference_mode("detect")
        if isinstance(images, np.ndarray) and images.ndim < 4:
            raise ValueError(f"detect takes a list of images, got one array of shape {images.shape}: "
                             "write detect([image])")
        if verbose:
            log(f"Processing {len(images)} images")
        found = [None] * len(images)
        # molded one batch at a time, so that memory does not grow with the number of images
        for start in range(0, len(images), self.config.BATCH_SIZE):
            group = images[start:start + self.config.BATCH_SIZE]
            molded, metas, windows = zip(*(mold(image, self.config) for image in group))
            for indices in batches_of_one_shape(molded, self.config.BATCH_SIZE):
                batch = np.stack([molded[index] for index in indices]).astype(np.float32)
                batch_metas = np.stack([metas[index] for index in indices])
                if verbose:
                    log("molded_images", batch)
                    log("image_metas", batch_metas)
                detections, masks = self.predict(batch, batch_metas)
                for index, result in zip(indices, results(
                        detections, masks, [np.shape(group[index]) for index in indices], batch.shape[1:],
                        [windows[index] for index in indices])):
                    found[start + index] = result
        return found

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
        return results(detections, masks, [shape] * len(molded_images), shape,
                       [(0, 0, *shape[:2])] * len(molded_images))

    def predict(self, molded_images, image_metas):
        """Run the network on a batch.

        Args:
            molded_images: float32 [b, h, w, c].
            image_metas: [b, 12 + classes].

        Returns:
            detections float32 [b, n, 6] normalised, masks float32 [b, n, mask h, mask w, classes].
        """
        if self._predict is None:
            model = self.keras_model
            # one trace for every batch size and image size
            signature = [tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype) for tensor in model.inputs]

            @tf.function(input_signature=signature, autograph=False)
            def predict(*inputs):
                outputs = model(list(inputs), training=False)
                return outputs[0], outputs[3]

            self._predict = predict
        return [output.numpy() for output in self._predict(
            tf.constant(molded_images, tf.float32), tf.constant(image_metas, tf.float32),
            tf.constant(self._batch_anchors(molded_images)))]

    def get_anchors(self, image_shape):
        """Anchors of an image shape, made once: float32 [anchors, 4] normalised."""
        key = tuple(int(size) for size in image_shape)
        if key not in self._anchor_cache:
            if len(self._anchor_cache) >= ANCHOR_SHAPES:
                self._anchor_cache.pop(next(iter(self._anchor_cache)))
            pixels = pyramid_anchors(self.config, key)
            self._anchor_cache[key] = pixels, norm_boxes(pixels, key[:2])
        self.anchors, normalized = self._anchor_cache[key]
        return normalized

    # === Inspection ===

    def find_trainable_layer(self, layer):
        """The layer that holds the weights: here always the layer itself."""
        return layer

    def get_trainable_layers(self):
        """All layers with weights, whose names are those of the original; the RPN counts as one."""
        return [LayerView(layer) for layer in self.keras_model.layers if layer.weights]

    def ancestor(self, tensor, name, checked=None):
        """Find a tensor that another one is computed from; see `inspection.ancestor`."""
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
        if image_metas is None:
            molded, image_metas, _ = self.mold_inputs(images)
        else:
            molded = np.asarray(images, np.float32)
        values = run_model(self.keras_model, [molded, image_metas, self._batch_anchors(molded)], outputs)
        for name, value in values.items():
            log(name, value)
        return values

    def _batch_anchors(self, molded_images):
        anchors = self.get_anchors(molded_images.shape[1:])
        return np.broadcast_to(anchors, (len(molded_images), *anchors.shape))

    def _needs_inference_mode(self, method):
        if self.mode != "inference":
            raise ValueError(f"the model was made in mode {self.mode!r}; {method} needs mode='inference'")


def _has(package):
    return importlib.util.find_spec(package) is not None
