"""Segmenter: build, train and run a network that gives each pixel a class.

A facade, as `mrcnn.model` is for Mask R-CNN.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from mrcnn.common.files import AnyPath
from mrcnn.common.words import option_or_argument
from mrcnn.config import Config, SegmentationConfig
from mrcnn.config.label_losses import all_learn_nothing_from_empty
from mrcnn.config.segmentation import output_channels
from mrcnn.data.dataset import Dataset
from mrcnn.data.label_batches import LabelBatches
from mrcnn.data.survey.objects import count_empty, require_labels
from mrcnn.evaluation import LabelEvaluation
from mrcnn.evaluation.trimap import DISTANCE
from mrcnn.inference.labeller import Labeller
from mrcnn.inference.result import Classes
from mrcnn.inference.segment import evaluate_segmenter, found_and_true, segment
from mrcnn.inference.semantic_result import SemanticResult
from mrcnn.matterport import methods
from mrcnn.networks.halves import convolve_in_halves
from mrcnn.networks.segmentation.build import (
    label_training_model,
    loss_layer,
    segmentation_network,
    terms,
)
from mrcnn.training.learner import Learner
from mrcnn.training.stages import LABEL_STAGES
from mrcnn.training.step import TrainingModel


class Segmenter(Learner):
    """A network that gives each pixel a class, for one ``SegmentationConfig``.

    Args:
        mode: "training" or "inference".
        config: a ``SegmentationConfig``.
        model_dir: folder of the training runs' folders.

    Attributes:
        keras_model, epoch, log_dir, checkpoint_path, folder, run: as of `training.learner.Learner`;
            the model is one of `networks.segmentation.build`.

    Example:
        class PeopleConfig(SegmentationConfig):
            NAME, NUM_CLASSES = "people", 1 + 1
            NETWORK, BACKBONE = "unet", "resnet50"
            IMAGE_MAX_DIM = IMAGE_MIN_DIM = 256

        model = Segmenter("training", PeopleConfig(), "logs")
        model.load_weights(model.get_imagenet_weights(), by_name=True)
        model.train(train_set, val_set, 1e-3, 10, "decoder", evaluate_every=1)
    """

    prefix = "segmenter"
    stages = LABEL_STAGES
    measures = ("mIoU", "foreground_mIoU", "Dice", "pixel_accuracy")
    best_measure = "mIoU"

    config: SegmentationConfig

    def __init__(self, mode: str, config: SegmentationConfig, model_dir: AnyPath) -> None:
        if not isinstance(config, SegmentationConfig):
            raise TypeError(
                f"config is a {type(config).__name__}; a Segmenter needs a SegmentationConfig "
                "(mrcnn.config.SegmentationConfig)"
            )
        super().__init__(mode, config, model_dir)

    def _network(self, mode: str, config: Config) -> keras.Model:
        if mode == "training":
            return label_training_model(config, TrainingModel)
        return convolve_in_halves(segmentation_network(config))

    # === Training ===

    @property
    def loss_weights(self) -> dict[str, float]:
        """{name of a loss: its factor in LOSS}."""
        return {loss_layer(name): factor for factor, name in terms(self.config)}

    def batches(self, dataset: Dataset, *, training: bool, **options: Any) -> LabelBatches:
        """The batches that the network is trained on, or validated."""
        return LabelBatches(dataset, self.config, training=training, **options)

    def require_data(self, train_dataset: Dataset, val_dataset: Dataset | None) -> None:
        """Refuse data that nothing can be learned from."""
        require_labels(train_dataset, self.config)

    def not_learned(self, dataset: Dataset) -> list[str]:
        """Sentences on what training passes over: the images that LOSS does not learn from."""
        config = self.config
        nothing = all_learn_nothing_from_empty(
            config.LOSS, config.LOSS_OPTIONS, output_channels(config)
        )
        if not nothing or not config.KEEP_EMPTY_IMAGES:
            return []
        empty, images = count_empty(dataset, config)
        if not empty:
            return []
        remedy = option_or_argument("--loss ce+dice", "LOSS = 'ce+dice'")
        return [
            f"{empty} of {images} images that were looked at have no object, and "
            f"LOSS = {config.LOSS!r} learns nothing from a batch of such: the network may label "
            f"anything there; {remedy} learns from them too"
        ]

    # === Prediction ===

    def segment(self, images: Sequence[np.ndarray] | np.ndarray) -> list[SemanticResult]:
        """Give each pixel of images a class.

        Args:
            images: any number of arrays [h, w] or [h, w, c], of any sizes from 1 x 1 on and of any
                number types; see `data.images.as_uint8_range`. They are run BATCH_SIZE at a time.

        Returns:
            An `inference.semantic_result.SemanticResult` per image, in order.

        Raises:
            ValueError: what is no image, by its place in the list.
        """
        self._needs_inference_mode("segment")
        return segment(self.predict, images, self.config)

    def detect(
        self,
        images: Sequence[np.ndarray] | np.ndarray,
        verbose: int = 0,
        *,
        classes: Classes | None = None,
        min_confidence: float | None = None,
    ) -> list[SemanticResult]:
        """`segment`, as `MaskRCNN.detect` is called.

        Args:
            images: as of `segment`.
            verbose: 1 prints the shapes of what goes in.
            classes: class id, or name by Config.CLASS_NAMES, or a list of them: the pixels of
                others become background. None: all.
            min_confidence: pixels whose most probable class has a lower probability become void.
        """
        self._needs_inference_mode("detect")
        log = methods.log if verbose else None
        return segment(self.predict, images, self.config, classes, min_confidence, log)

    def predict(self, molded_images: np.ndarray) -> NDArray[np.float32]:
        """Run the network on a batch.

        Args:
            molded_images: float32 [b, h, w, c], with the sides of `config.network_sides`.

        Returns:
            Probabilities [b, h, w, NUM_CLASSES], which sum to 1.
        """
        self._needs_inference_mode("predict")
        graph = self._graph
        if graph is None or graph.keras_model is not self.keras_model:
            graph = self._make_graph()
        return graph.predict(molded_images)

    def picture(self, dataset: Dataset, image_id: int) -> NDArray[np.uint8]:
        """What is found in an image, and beside it the truth: [height, 2 * width, 3]."""
        return found_and_true(self.segment, self.config, dataset, image_id)

    # === Evaluation ===

    def evaluate(
        self,
        dataset: Dataset,
        image_ids: Iterable[int] | None = None,
        *,
        report: AnyPath | None = None,
        worst: int = 8,
        trimap: float | None = DISTANCE,
        batch_size: int | None = None,
        workers: int = 1,
        verbose: int = 1,
    ) -> LabelEvaluation:
        """Measure the labels on a dataset: IoU, Dice, accuracies; see `evaluation.evaluate_labels`.

        Args:
            dataset: a prepared `Dataset` of the network's classes.
            image_ids: list of ids; None: all.
            report: folder for a report: an HTML page, pictures and json.
            worst: number of worst images to name and show.
            trimap: distance for trimap_IoU in px; None does not measure it.
            batch_size: images per run of the network; None: BATCH_SIZE.
            workers: threads that load the next images meanwhile.
            verbose: 1 shows progress and prints the result, 0 is silent.

        Returns:
            `evaluation.LabelEvaluation`, a mapping: ``model.evaluate(dataset)["mIoU"]``.

        Raises:
            ValueError: no images, or what does not fit the network.
        """
        self._needs_inference_mode("evaluate")
        config = copy.copy(self.config)
        if batch_size is not None:
            config.BATCH_SIZE = batch_size
        return evaluate_segmenter(
            partial(segment, self.predict, config=config),
            config,
            dataset,
            image_ids,
            report=report,
            worst=worst,
            trimap=trimap,
            workers=workers,
            verbose=verbose,
        )

    # === Parts ===

    def _make_graph(self) -> Labeller:
        self._graph = Labeller(self.keras_model, self._strategy)
        return self._graph
