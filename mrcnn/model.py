"""MaskRCNN: build, train and run the network.

A facade: it holds a model, its settings and its files, and leaves every computation to
the module whose name says what it does. The names that matterport's ``model`` module
had are importable from here (`mrcnn.matterport.names`).
"""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath
from mrcnn.config import Config
from mrcnn.config.file import other_settings
from mrcnn.data.augment.user import Augmentation
from mrcnn.data.dataset import Dataset
from mrcnn.distributed.strategy import detection_strategy, scope, stop_together, training_strategy
from mrcnn.evaluation import Evaluation
from mrcnn.inference.detect import detect, warn_of_limit
from mrcnn.inference.evaluate import evaluate_network
from mrcnn.inference.graph import Detector
from mrcnn.inference.result import Classes, Result
from mrcnn.matterport import methods
from mrcnn.networks.backbones.applications import application_imagenet_weights
from mrcnn.networks.halves import convolve_in_halves
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.ops.image_meta import WINDOW
from mrcnn.training.checkpoint import Run
from mrcnn.training.loop import train
from mrcnn.training.optimizer import keep_slots, make_optimizer
from mrcnn.training.run_folder import check_name, find_last_checkpoint, run_folder
from mrcnn.training.schedules import of_updates
from mrcnn.training.stages import Stage, set_trainable
from mrcnn.training.step import TrainingModel
from mrcnn.weights.keras_file import check_keras_file, require_usable
from mrcnn.weights.load import LoadReport, load_h5, save_h5
from mrcnn.weights.published import IMAGENET_WEIGHTS, cache_folder, imagenet_weights


def __getattr__(name: str) -> Any:
    """matterport's names, only when one is asked for: with them tf.identity takes KerasTensors."""
    if name == "__all__" or not name.startswith("__"):  # Python itself looks for __path__
        from mrcnn.matterport import names

        if name == "__all__":
            return ["MaskRCNN", "load_model", *names.__all__]
        if name in names.__all__:
            return getattr(names, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_model(path: str | os.PathLike, **options: Any) -> keras.Model:
    """Load a whole network that ``MaskRCNN.keras_model.save("model.keras")`` wrote.

    Args:
        path: of the ``.keras`` file. A ``.h5`` file is for `MaskRCNN.load_weights`.
        options: of ``keras.models.load_model``: custom_objects, compile, safe_mode.

    Returns:
        The `keras.Model`, with inputs and outputs as in `networks.mask_rcnn.build`.

    Raises:
        FileNotFoundError, ValueError: see `weights.keras_file.check_keras_file`; also a file with
            NaN or infinite values.
    """
    check_keras_file(path)
    model = keras.models.load_model(path, **options)
    require_usable(model, path)
    return model


class MaskRCNN(methods.MatterportMethods):
    """Mask R-CNN for one ``Config``.

    Args:
        mode: "training" or "inference".
        config: a ``Config``.
        model_dir: folder of the training runs' folders.

    Attributes:
        keras_model: the `keras.Model`; see `networks.mask_rcnn.build`.
        epoch, log_dir, checkpoint_path: of the current run; see `training.run_folder`. The first
            `train` of a new run makes its folder, which is another one where a run that began
            meanwhile has taken the name.
        folder: the `training.run_folder.RunFolder` that they come from.
        run: `training.checkpoint.Run` that `train` carries on, or None.
        anchors: float64 [anchors, 4] px, of the images last detected in or asked for by
            `get_anchors`; None before.
    """

    def __init__(self, mode: str, config: Config, model_dir: AnyPath) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode is {mode!r}; use 'training' or 'inference'")
        self.mode = mode
        self.config = config
        self.model_dir = model_dir
        self._anchor_shape: tuple[int, ...] | None = None
        self._anchor_cache: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        self._strategy: tf.distribute.Strategy | None = None
        self._detector: MaskRCNN | None = None
        # that of the last `compile`
        self._optimizer: keras.optimizers.Optimizer | None = None
        self.run: Run | None = None
        if mode == "training" and config.NAME is not None:
            check_name(model_dir, config.NAME)
        self.set_log_dir()
        self.keras_model = self.build(mode=mode, config=config)
        self._graph: Detector | None = None
        if mode == "inference":
            self._make_graph()

    def build(self, mode: str, config: Config) -> keras.Model:
        """A new Keras model for a mode and a config; see `networks.mask_rcnn.build`."""
        config.validate()
        strategy = training_strategy if mode == "training" else detection_strategy
        self._strategy = strategy(config.GPU_COUNT)
        if config.SEED is not None:
            keras.utils.set_random_seed(config.SEED)
        with scope(self._strategy):
            if mode == "training":
                return training_model(config, TrainingModel)
            return convolve_in_halves(inference_model(config))

    # === Files ===

    def set_log_dir(self, model_path: AnyPath | None = None) -> None:
        """Choose the run's folder: of the run that a checkpoint comes from, or a new one."""
        name = self.config.NAME or "mask_rcnn"
        self.folder = run_folder(self.model_dir, name, model_path)
        self.log_dir, self.checkpoint_path = self.folder.log_dir, self.folder.checkpoint_path
        self.epoch = self.folder.epoch

    def find_last(self) -> str:
        """Path of the last whole checkpoint of the newest run; see
        `training.run_folder.find_last_checkpoint`.

        In mode "training" it is that of the last whole epoch, from which `train` goes on as if it
        had never stopped.
        """
        return find_last_checkpoint(
            self.model_dir, self.config.NAME or "mask_rcnn", self.mode == "training"
        )

    def resume(self) -> str | None:
        """Load what `find_last` finds, so that `train` goes on from there; returns its path, or
        None for nothing.
        """
        try:
            path = self.find_last()
        except FileNotFoundError:
            return None
        self.load_weights(path)
        return path

    def load_weights(
        self, filepath: AnyPath, by_name: bool = False, exclude: Iterable[str] | None = None
    ) -> LoadReport:
        """Load a .h5 file in the original's layout.

        In mode "inference" a warning names the fields of the config that say what the network's
        outputs mean, such as the anchors, and are not those in the config.json beside the file.

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
        others = other_settings(self.config, filepath) if self.mode == "inference" else []
        if others:
            warnings.warn(
                f"{filepath} was trained with other settings than the model's, so objects will be "
                f"missed: {', '.join(others)}",
                stacklevel=2,
            )
        self.set_log_dir(filepath)
        self.run = self._optimizer = None  # what an earlier `train` left is not of these weights
        return report

    def save_weights(self, filepath: AnyPath) -> None:
        """Write the weights in the original's layout, whole or not at all.

        Where the path is a link, the link is replaced, and the file that it leads to stays as it
        is.
        """
        save_h5(self.keras_model, filepath)

    def get_imagenet_weights(self) -> str:
        """Path of ImageNet weights for the backbone, downloaded on first use."""
        if self.config.BACKBONE in IMAGENET_WEIGHTS:
            return imagenet_weights(self.config.BACKBONE)
        if callable(self.config.BACKBONE):
            raise ValueError("BACKBONE is a function of yours: load its weights by their path")
        return application_imagenet_weights(self.config.BACKBONE, cache_folder())

    # === Training ===

    def compile(self, learning_rate: Any, momentum: float) -> None:
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

    def set_trainable(
        self,
        layer_regex: str,
        keras_model: keras.Model | None = None,
        indent: int = 0,
        verbose: int = 1,
    ) -> None:
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
        train_dataset: Dataset,
        val_dataset: Dataset | None,
        learning_rate: Any,
        epochs: int | None,
        layers: str | Iterable[Stage | tuple],
        augmentation: Augmentation | None = None,
        custom_callbacks: Sequence[keras.callbacks.Callback]
        | keras.callbacks.Callback
        | None = None,
        no_augmentation_sources: Collection[str] | None = None,
        *,
        workers: int = 1,
        verbose: int | str = "auto",
        evaluate_every: int = 0,
        monitor: str | None = None,
    ) -> keras.callbacks.History:
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
            custom_callbacks: Keras callbacks, or a single one.
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

    def detector(self) -> MaskRCNN:
        """A `MaskRCNN` of mode "inference" on the very weights of this one, of mode "training".

        Its ``keras_model`` is this one's: what looks inside a network of mode "inference", such as
        `run_graph`, needs a `MaskRCNN` of that mode.
        """
        if self._detector is None or self._detector.keras_model is not self.keras_model:
            self._detector = copy.copy(self)
            self._detector.mode, self._detector._anchor_cache = "inference", {}
            self._detector._graph = None
        twin = self._detector
        twin.config = copy.copy(self.config)  # whose fields may have been changed since
        if self.config.IMAGE_RESIZE_MODE == "crop":  # which is for training
            twin.config.IMAGE_RESIZE_MODE = "pad64"
        if twin._graph is None:
            twin._make_graph()
        return twin

    # === Detection ===

    def detect(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        verbose: int = 0,
        *,
        classes: Classes | None = None,
        min_confidence: float | None = None,
    ) -> list[Result]:
        """Find the objects in images.

        Args:
            images: any number of arrays [h, w] or [h, w, c], of any sizes and number types;
                see `data.images.as_uint8_range`. They are run BATCH_SIZE at a time.
            verbose: 1 prints the shapes of what goes in.
            classes: class id, or name by Config.CLASS_NAMES, or a list of them; None for all. They
                are chosen among the DETECTION_MAX_INSTANCES best objects of all classes.
            min_confidence: least score, used instead of DETECTION_MIN_CONFIDENCE.

        Returns:
            An `inference.result.Result` per image, in order, which is a dict: rois int32 [n, 4]
            (y1, x1, y2, x2) px, class_ids int32 [n], scores float32 [n], masks bool [h, w, n]
            (float64 where n is 0, as in the original). Its ``at_limit`` says whether
            DETECTION_MAX_INSTANCES was reached, of which there is also a warning.

        Raises:
            ValueError: an unknown class, or what is no image, by its place in the list.
        """
        self._needs_inference_mode("detect")
        results = detect(
            self.predict,
            images,
            self.config,
            classes,
            min_confidence,
            methods.log if verbose else None,
        )
        warn_of_limit(results, self.config)
        return results

    def predict(
        self, molded_images: np.ndarray, image_metas: ArrayLike, min_confidence: float | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run the network on a batch.

        Args:
            molded_images: float32 [b, h, w, c].
            image_metas: [b, 12 + classes].
            min_confidence: least score, used instead of DETECTION_MIN_CONFIDENCE.

        Returns:
            detections float32 [b, n, 6] normalised, and each one's mask of its own class, float32
            [b, n, mask h, mask w]. The masks of all classes are an output of ``keras_model``.

        Raises:
            ValueError: a field of the config was changed that the network was built with, see
                `inference.graph.Detector.check_settings`.
        """
        self._needs_inference_mode("predict")
        graph = self._graph
        if graph is None or graph.keras_model is not self.keras_model:
            graph = self._make_graph()  # of a network that the user has put in place of the first
        graph.check_settings(self.config)
        if min_confidence is None:
            min_confidence = self.config.DETECTION_MIN_CONFIDENCE or 0.0
        molded_images, windows = np.asarray(molded_images), np.asarray(image_metas)[:, WINDOW]
        self._anchor_shape = molded_images.shape[1:]
        return graph.predict(molded_images, windows, min_confidence)

    # === Evaluation ===

    def evaluate(
        self,
        dataset: Dataset,
        image_ids: Iterable[int] | None = None,
        *,
        report: AnyPath | None = None,
        min_confidence: float | None = None,
        min_score: float | None = None,
        iou: float = 0.5,
        worst: int = 8,
        batch_size: int | None = None,
        workers: int = 1,
        verbose: int = 1,
    ) -> Evaluation:
        """Measure the detections on a dataset: COCO AP, precision, recall, F1, confusions; see
        `evaluation.evaluate`.

        Args:
            dataset: a prepared `Dataset` of the network's classes. Where CLASS_NAMES are known it
                may have others after them, whose objects are missed.
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

    # === Parts ===

    def _make_graph(self) -> Detector:
        self._graph = Detector(self.keras_model, self.config, self._strategy)
        return self._graph

    def _needs_inference_mode(self, method):
        if self.mode != "inference":
            raise ValueError(
                f"the model was made in mode {self.mode!r}; {method} needs mode='inference'"
            )
