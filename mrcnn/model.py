"""MaskRCNN: build, train and run the network.

A facade: it holds a model, its settings and its files, and leaves every computation to
the module whose name says what it does. The names that matterport's ``model`` module
had are importable from here.
"""

import copy

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.batches import data_generator  # noqa: F401
from mrcnn.data.images import mold_image, unmold_image  # noqa: F401
from mrcnn.data.load import load_image_gt  # noqa: F401
from mrcnn.data.random_rois import build_detection_targets, generate_random_rois  # noqa: F401
from mrcnn.data.rpn_targets import build_rpn_targets  # noqa: F401
from mrcnn.distributed.strategy import detection_strategy, scope, stop_together, training_strategy
from mrcnn.inference.detect import detect, mold_inputs, results, unmold_detections
from mrcnn.inference.evaluate import evaluate_network
from mrcnn.inference.graph import predict_function
from mrcnn.inference.inspection import LayerView, ancestor
from mrcnn.inference.inspection import run as run_model
from mrcnn.matterport.graph_functions import *
from mrcnn.networks.backbones.applications import application_imagenet_weights
from mrcnn.networks.backbones.resnet import conv_block, identity_block, resnet_graph  # noqa: F401
from mrcnn.networks.layers.normalization import BatchNorm  # noqa: F401
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.networks.mask_rcnn.detection_layer import DetectionLayer  # noqa: F401
from mrcnn.networks.mask_rcnn.heads import build_fpn_mask_graph, fpn_classifier_graph  # noqa: F401
from mrcnn.networks.mask_rcnn.proposal_layer import ProposalLayer  # noqa: F401
from mrcnn.networks.mask_rcnn.roi_features import PyramidROIAlign  # noqa: F401
from mrcnn.networks.mask_rcnn.rpn import build_rpn_model, rpn_graph  # noqa: F401
from mrcnn.networks.mask_rcnn.target_layer import DetectionTargetLayer  # noqa: F401
from mrcnn.ops.anchors import compute_backbone_shapes, pyramid_anchors  # noqa: F401
from mrcnn.ops.boxes_np import norm_boxes
from mrcnn.ops.image_meta import compose_image_meta, parse_image_meta  # noqa: F401
from mrcnn.training.loop import train
from mrcnn.training.optimizer import keep_slots, make_optimizer
from mrcnn.training.run_folder import find_last_checkpoint, run_folder
from mrcnn.training.schedules import of_updates
from mrcnn.training.stages import set_trainable
from mrcnn.training.step import TrainingModel
from mrcnn.weights.load import load_h5, save_h5
from mrcnn.weights.published import IMAGENET_WEIGHTS, cache_folder, imagenet_weights

# Image shapes whose anchors are kept; those of 1024 px take 12 MB.
ANCHOR_SHAPES = 16


def log(text, array=None):
    """Print a line about an array: its shape, range and type."""
    if array is not None:
        span = (
            f"min: {array.min():10.5f}  max: {array.max():10.5f}"
            if array.size
            else f"min: {'':10}  max: {'':10}"
        )
        text = f"{text.ljust(25)}shape: {array.shape!s:20}  {span}  {array.dtype}"
    print(text)


class MaskRCNN:
    """Mask R-CNN for one ``Config``.

    Args:
        mode: "training" or "inference".
        config: a ``Config``.
        model_dir: folder of the training runs' folders.

    Attributes:
        keras_model: the `keras.Model`; see `networks.mask_rcnn.build`.
        epoch, log_dir, checkpoint_path: of the current run; see `training.run_folder`.
        run: `training.checkpoint.Run` that `train` carries on, or None.
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
        self._predict = {}
        self._strategy = None
        self._detector = None
        self._optimizer = None  # that of the last `compile`
        self.run = None
        self.set_log_dir()
        self.keras_model = self.build(mode=mode, config=config)

    def build(self, mode, config):
        """A new Keras model for a mode and a config; see `networks.mask_rcnn.build`."""
        config.validate()
        strategy = training_strategy if mode == "training" else detection_strategy
        self._strategy = strategy(config.GPU_COUNT)
        if config.SEED is not None:
            keras.utils.set_random_seed(config.SEED)
        with scope(self._strategy):
            if mode == "training":
                return training_model(config, TrainingModel)
            return inference_model(config)

    # === Files ===

    def set_log_dir(self, model_path=None):
        """Choose the run's folder: of the run that a checkpoint comes from, or a new one."""
        name = self.config.NAME or "mask_rcnn"
        self.log_dir, self.checkpoint_path, self.epoch = run_folder(
            self.model_dir, name, model_path
        )

    def find_last(self):
        """Path of the last whole checkpoint of the newest run; see
        `training.run_folder.find_last_checkpoint`.

        In mode "training" it is that of the last whole epoch, from which `train` goes on as if it
        had never stopped.
        """
        return find_last_checkpoint(
            self.model_dir, self.config.NAME or "mask_rcnn", self.mode == "training"
        )

    def resume(self):
        """Load what `find_last` finds, so that `train` goes on from there; returns its path, or
        None for nothing.
        """
        try:
            path = self.find_last()
        except FileNotFoundError:
            return None
        self.load_weights(path)
        return path

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
        report = load_h5(
            self.keras_model, filepath, by_name=bool(by_name or exclude), exclude=exclude
        )
        print(report)
        self.set_log_dir(filepath)
        self.run = self._optimizer = None  # what an earlier `train` left is not of these weights
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
        """Make the optimizer, of Config.OPTIMIZER; its gradients are clipped by their common norm.

        Layers that an earlier call trained too keep their momentum, unless weights were loaded
        since.

        Args:
            learning_rate: a number or a Keras schedule.
            momentum: of SGD.
        """
        model = self.keras_model
        with scope(self._strategy):
            accumulation = self.config.GRADIENT_ACCUMULATION_STEPS
            optimizer = make_optimizer(
                self.config,
                of_updates(learning_rate, accumulation),
                momentum,
                model.dtype_policy.name,
            )
            model.compile(
                optimizer,
                accumulation=accumulation,
                average_momentum=self.config.EMA_MOMENTUM,
                # crop_and_resize and NMS have no XLA kernel, and Keras would choose XLA on a GPU
                jit_compile=False,
            )
            keep_slots(self._optimizer, optimizer, model.trainable_variables)
        self._optimizer = optimizer

    def set_trainable(self, layer_regex, keras_model=None, indent=0, verbose=1):
        """Train the layers whose names match, freeze the others and those of
        FREEZE_BACKBONE_STAGES.
        """
        trained = set_trainable(
            keras_model or self.keras_model, layer_regex, self.config.FREEZE_BACKBONE_STAGES
        )
        if verbose > 0:
            for layer in trained:
                print(f"{' ' * indent}{layer.name:20}   ({type(layer).__name__})")

    def train(
        self,
        train_dataset,
        val_dataset,
        learning_rate,
        epochs,
        layers,
        augmentation=None,
        custom_callbacks=None,
        no_augmentation_sources=None,
        *,
        workers=1,
        verbose="auto",
        evaluate_every=0,
        monitor=None,
    ):
        """Train some layers up to an epoch, or several stages one after the other.

        After each epoch the run's folder has a checkpoint and a state file. With the weights of
        that checkpoint loaded (`resume`, or ``load_weights(find_last())``), the same call goes on
        as if it had never stopped.

        Args:
            train_dataset, val_dataset: prepared `Dataset`s; ``val_dataset`` None leaves validation
                out.
            learning_rate: of the optimizer: a number, from which LEARNING_RATE_SCHEDULE goes; or a
                Keras schedule or callable(step) of the stage's steps.
            epochs: the epoch to end with, counted over all calls, not the number of epochs of
                this call; where it is reached already, nothing is trained. None with a list of
                stages.
            layers: "heads", "3+", "4+", "5+", "all", a regular expression of layer names; or a list
                of `training.Stage` or (layers, epochs, learning rate), such as [("heads", 20),
                ("all", 40, 1e-4)].
            augmentation: imgaug augmenter or a callable (image, masks) -> (image, masks).
            custom_callbacks: Keras callbacks.
            no_augmentation_sources: sources of images to leave as they are.
            workers: threads that prepare batches.
            verbose: of ``fit``.
            evaluate_every: epochs between two measurements of COCO AP on ``val_dataset``, also
                after the last one, logged as val_segm_AP and so on (`training.validation_ap`), with
                pictures; 0: none.
            monitor: logged metric by which mask_rcnn_<name>_best.h5 is kept; None: val_segm_AP
                where it is measured. Its name tells whether less is better (loss) or more (AP, acc,
                precision, recall, F1, IoU).

        Returns:
            keras.callbacks.History, with the losses weighted by LOSS_WEIGHTS.

        Raises:
            ValueError: the model is not a training model, a data set has no images, its classes
                or images do not fit the config, or monitor's name does not tell what is better.
            FloatingPointError: a loss is NaN or infinite; the message names the images and their
                boxes.
            OSError: the run's folder cannot be written to.
            RuntimeError: of several machines that train together, another one stopped.
        """
        with stop_together(self._strategy):
            return train(
                self,
                train_dataset,
                val_dataset,
                learning_rate,
                epochs,
                layers,
                augmentation=augmentation,
                custom_callbacks=custom_callbacks,
                no_augmentation_sources=no_augmentation_sources,
                workers=workers,
                verbose=verbose,
                evaluate_every=evaluate_every,
                monitor=monitor,
            )

    def detector(self):
        """A `MaskRCNN` of mode "inference" on the very weights of this one, of mode "training"."""
        if self._detector is None:
            self._detector = twin = copy.copy(self)
            twin.mode, twin.config, twin._predict, twin._anchor_cache = (
                "inference",
                copy.copy(self.config),
                {},
                {},
            )
            twin.config.BATCH_SIZE = (
                self.config.IMAGES_PER_GPU * self.config.GPU_COUNT
            )  # of this machine alone
            if self.config.IMAGE_RESIZE_MODE == "crop":  # which is for training
                twin.config.IMAGE_RESIZE_MODE = "pad64"
            twin.keras_model = inference_model(twin.config, self.keras_model)
        return self._detector

    # === Detection ===

    def mold_inputs(self, images):
        """Images of one molded size as a batch; see `inference.detect.mold_inputs`."""
        return mold_inputs(images, self.config)

    def unmold_detections(self, detections, mrcnn_mask, original_image_shape, image_shape, window):
        """See `inference.detect.unmold_detections`."""
        return unmold_detections(detections, mrcnn_mask, original_image_shape, image_shape, window)

    def detect(self, images, verbose=0, *, classes=None, min_confidence=None):
        """Find the objects in images.

        Args:
            images: any number of arrays [h, w] or [h, w, c], of any sizes and number types;
                see `data.images.as_uint8_range`. They are run BATCH_SIZE at a time.
            verbose: 1 prints the shapes of what goes in.
            classes: class id, or name by Config.CLASS_NAMES, or a list of them; None for all. They
                are chosen among the DETECTION_MAX_INSTANCES best objects of all classes.
            min_confidence: least score, in place of DETECTION_MIN_CONFIDENCE; each value below that
                one makes the network be traced anew, once for a single image and once for batches
                of several.

        Returns:
            A `inference.result.Result` per image, in order, which is a dict: rois int32 [n, 4] (y1,
            x1, y2, x2) px, class_ids int32 [n], scores float32 [n], masks bool [h, w, n] (float64
            where n is 0, as the
            original has it).

        Raises:
            ValueError: an unknown class, or what is no image, by its place in the list.
        """
        self._needs_inference_mode("detect")
        return detect(
            self.predict, images, self.config, classes, min_confidence, log if verbose else None
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
        )

    def predict(self, molded_images, image_metas, min_confidence=None):
        """Run the network on a batch.

        Args:
            molded_images: float32 [b, h, w, c].
            image_metas: [b, 12 + classes].
            min_confidence: least score, in place of the DETECTION_MIN_CONFIDENCE that the model was
                built with.

        Returns:
            detections float32 [b, n, 6] normalised, and each one's mask of its own class, float32
            [b, n, mask h, mask w]. The masks of all classes are an output of ``keras_model``.
        """
        # several devices get their parts of a batch by a number that is not known when the function
        # is traced
        key = min_confidence, 1 if len(molded_images) == 1 and self._strategy is None else None
        if key not in self._predict:
            self._predict[key] = predict_function(
                self.keras_model, min_confidence, self._strategy, key[1]
            )
        return [
            output.numpy()
            for output in self._predict[key](
                tf.constant(molded_images, tf.float32),
                tf.constant(image_metas, tf.float32),
                tf.constant(self._batch_anchors(molded_images)),
            )
        ]

    def get_anchors(self, image_shape):
        """Anchors of an image shape, made once: float32 [anchors, 4] normalised."""
        key = tuple(int(size) for size in image_shape)
        found = self._anchor_cache.get(key)  # another thread may take it out of the cache meanwhile
        if found is None:
            if len(self._anchor_cache) >= ANCHOR_SHAPES:
                self._anchor_cache.pop(next(iter(self._anchor_cache)), None)
            pixels = pyramid_anchors(self.config, key)
            found = self._anchor_cache[key] = pixels, norm_boxes(pixels, key[:2])
        self.anchors, normalized = found
        return normalized

    # === Evaluation ===

    def evaluate(
        self,
        dataset,
        image_ids=None,
        *,
        report=None,
        min_confidence=None,
        min_score=None,
        iou=0.5,
        worst=8,
        batch_size=None,
        workers=1,
        verbose=1,
    ):
        """Measure the detections on a dataset: COCO AP, precision, recall, F1, confusions; see
        `evaluation.evaluate`.

        Args:
            dataset: a prepared `Dataset` of the network's classes.
            image_ids: list of ids; None: all.
            report: folder for a report: an HTML page, pictures and json.
            min_confidence: least score of the detections that AP counts. DETECTION_MIN_CONFIDENCE
                is made for use, and AP wants low scores as well: None takes 0.05, or that field
                where it is lower.
            min_score: least score for precision, recall, F1 and confusions; None: what `detect`
                returns, which is DETECTION_MIN_CONFIDENCE, or 0.5 where that is not above
                ``min_confidence``.
            iou: least IoU of a match for the same, of masks.
            worst: number of worst images to name and show.
            batch_size: images per run of the network; None: BATCH_SIZE.
            workers: threads that load the next images meanwhile.
            verbose: 1 shows progress and prints the result, 0 is silent.

        Returns:
            `evaluation.Evaluation`, a mapping: ``model.evaluate(dataset)["segm_AP50"]``.

        Raises:
            ValueError: no images, or what does not fit the network.
        """
        self._needs_inference_mode("evaluate")
        return evaluate_network(
            self.predict,
            self.config,
            dataset,
            image_ids,
            report=report,
            min_confidence=min_confidence,
            min_score=min_score,
            iou=iou,
            worst=worst,
            batch_size=batch_size,
            workers=workers,
            verbose=verbose,
        )

    # === Inspection ===

    def find_trainable_layer(self, layer):
        """The layer that holds the weights: here always the layer itself."""
        return layer

    def get_trainable_layers(self):
        """All layers with weights, whose names are those of the original; the RPN counts as one."""
        return [LayerView(layer) for layer in self.keras_model.layers if layer.weights]

    def ancestor(self, tensor, name, checked=None):
        """Find a tensor that another one is computed from; see `inference.inspection.ancestor`."""
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
        values = run_model(
            self.keras_model, [molded, image_metas, self._batch_anchors(molded)], outputs
        )
        for name, value in values.items():
            log(name, value)
        return values

    def _batch_anchors(self, molded_images):
        anchors = self.get_anchors(molded_images.shape[1:])
        return np.broadcast_to(anchors, (len(molded_images), *anchors.shape))

    def _needs_inference_mode(self, method):
        if self.mode != "inference":
            raise ValueError(
                f"the model was made in mode {self.mode!r}; {method} needs mode='inference'"
            )
