"""MaskRCNN: build, train and run the network.

A facade: it holds a model, its settings and its files, and leaves every computation to
the module whose name says what it does. The names that matterport's ``model`` module
had are importable from here (`mrcnn.matterport.names`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrcnn.common.files import AnyPath
from mrcnn.config import Config
from mrcnn.data.batches import TrainingBatches
from mrcnn.data.dataset import Dataset
from mrcnn.data.survey.objects import not_learned, require_masks, require_objects
from mrcnn.evaluation import Evaluation
from mrcnn.inference.comparison import found_and_true
from mrcnn.inference.detect import detect, warn_of_limit
from mrcnn.inference.evaluate import evaluate_network
from mrcnn.inference.graph import Detector
from mrcnn.inference.result import Classes, Result
from mrcnn.matterport import methods
from mrcnn.networks.halves import convolve_in_halves
from mrcnn.networks.mask_rcnn.build import inference_model, training_model
from mrcnn.ops.image_meta import WINDOW
from mrcnn.training.learner import Learner
from mrcnn.training.stages import STAGES
from mrcnn.training.step import TrainingModel
from mrcnn.weights.keras_file import check_keras_file, require_usable


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


class MaskRCNN(methods.MatterportMethods, Learner):
    """Mask R-CNN for one ``Config``.

    Args:
        mode: "training" or "inference".
        config: a ``Config``.
        model_dir: folder of the training runs' folders.

    Attributes:
        keras_model, epoch, log_dir, checkpoint_path, folder, run: as of `training.learner.Learner`;
            the model is one of `networks.mask_rcnn.build`.
        anchors: float64 [anchors, 4] px, of the images last detected in or asked for by
            `get_anchors`; None before.
    """

    prefix = "mask_rcnn"
    stages = STAGES
    measures = ("bbox_AP", "bbox_AP50", "segm_AP", "segm_AP50")
    best_measure = "segm_AP"

    def __init__(self, mode: str, config: Config, model_dir: AnyPath) -> None:
        self._anchor_shape: tuple[int, ...] | None = None
        self._anchor_cache: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        super().__init__(mode, config, model_dir)

    def _network(self, mode: str, config: Config) -> keras.Model:
        if mode == "training":
            return training_model(config, TrainingModel)
        return convolve_in_halves(inference_model(config))

    # === Training ===

    @property
    def loss_weights(self) -> dict[str, float]:
        """{name of a loss: its factor}; one that is missing counts 1."""
        return self.config.LOSS_WEIGHTS

    def batches(self, dataset: Dataset, *, training: bool, **options: Any) -> TrainingBatches:
        """The batches that the network is trained on, or validated."""
        return TrainingBatches(dataset, self.config, training=training, **options)

    def require_data(self, train_dataset: Dataset, val_dataset: Dataset | None) -> None:
        """Refuse data that nothing can be learned from."""
        require_objects(train_dataset)
        if val_dataset is not None:
            require_masks(val_dataset)

    def not_learned(self, dataset: Dataset) -> list[str]:
        """Sentences on what training passes over."""
        return not_learned(dataset, self.config)

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

    def picture(self, dataset: Dataset, image_id: int) -> NDArray[np.uint8]:
        """What is found in an image, and beside it the truth: [height, 2 * width, 3]."""
        return found_and_true(self.detect, dataset, image_id)

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
        self._anchor_cache = {}
        self._graph = Detector(self.keras_model, self.config, self._strategy)
        return self._graph
