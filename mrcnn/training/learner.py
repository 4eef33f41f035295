"""What `MaskRCNN` and `Segmenter` share: a network with its settings, files and training."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from mrcnn.common.files import AnyPath
from mrcnn.common.heap import map_large_blocks
from mrcnn.config import Config
from mrcnn.config.file import other_settings
from mrcnn.config.resnets import is_resnext
from mrcnn.data.augment.user import Augmentation
from mrcnn.data.dataset import Dataset
from mrcnn.distributed.strategy import (
    detection_strategy,
    of_chief,
    over_machines,
    scope,
    stop_together,
    training_strategy,
)
from mrcnn.networks.backbones.applications import application_imagenet_weights
from mrcnn.training.checkpoint import Run
from mrcnn.training.loop import train
from mrcnn.training.optimizer import keep_slots, make_optimizer
from mrcnn.training.run_folder import check_name, find_last_checkpoint, run_folder
from mrcnn.training.schedules import of_updates
from mrcnn.training.stages import Stage, set_trainable
from mrcnn.weights.convert import write_torchvision
from mrcnn.weights.load import LoadReport, load_weights, model_layers, save_h5
from mrcnn.weights.published import (
    IMAGENET_WEIGHTS,
    cache_folder,
    imagenet_weights,
    resnext_imagenet_weights,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from mrcnn.data.numbered_batches import NumberedBatches


class Learner:
    """A network for one ``Config``: made, trained, saved and loaded.

    Subclasses say what it is.

    Args:
        mode: "training" or "inference".
        config: a ``Config``.
        model_dir: folder of the training runs' folders.

    Attributes:
        keras_model: the `keras.Model`.
        epoch, log_dir, checkpoint_path: of the current run; see `training.run_folder`. The first
            `train` of a new run makes its folder, which is another one where a run that began
            meanwhile has taken the name.
        folder: the `training.run_folder.RunFolder` that they come from.
        run: `training.checkpoint.Run` that `train` carries on, or None.
    """

    # What the names of its checkpoints begin with.
    prefix: ClassVar[str]
    # Words for layers that train together -> regular expression of the names of layers.
    stages: ClassVar[dict[str, str]]
    # Measures of `evaluate` that a training logs, and the one by which the best weights are kept.
    measures: ClassVar[tuple[str, ...]]
    best_measure: ClassVar[str]

    keras_model: keras.Model

    def __init__(self, mode: str, config: Config, model_dir: AnyPath) -> None:
        if mode not in ("training", "inference"):
            raise ValueError(f"mode is {mode!r}; use 'training' or 'inference'")
        map_large_blocks()
        self.mode = mode
        self.config = config
        self.model_dir = model_dir
        self._strategy: tf.distribute.Strategy | None = None
        self._detector: Self | None = None
        # that of the last `compile`
        self._optimizer: keras.optimizers.Optimizer | None = None
        self.run: Run | None = None
        if mode == "training" and config.NAME is not None:
            check_name(model_dir, config.NAME)
        self.set_log_dir()
        self.keras_model = self.build(mode=mode, config=config)
        self._graph: Any = None
        if mode == "inference":
            self._make_graph()

    def build(self, mode: str, config: Config) -> keras.Model:
        """A new Keras model for a mode and a config."""
        config.validate()
        strategy = training_strategy if mode == "training" else detection_strategy
        self._strategy = strategy(config.GPU_COUNT)
        seed = config.SEED
        if seed is None and over_machines(self._strategy):
            # initial weights that are drawn after their variables were made are each machine's own
            seed = int(of_chief(self._strategy, [np.random.randint(2**31 - 1)])[0])
        if seed is not None:
            keras.utils.set_random_seed(seed)
        with scope(self._strategy):
            return self._network(mode, config)

    # === What subclasses say ===

    def _network(self, mode: str, config: Config) -> keras.Model:
        """A new Keras model."""
        raise NotImplementedError

    def _make_graph(self) -> Any:
        """What runs ``keras_model`` on images, also kept as ``_graph``."""
        raise NotImplementedError

    @property
    def loss_weights(self) -> dict[str, float]:
        """{name of a loss: its factor}; one that is missing counts 1."""
        raise NotImplementedError

    def batches(self, dataset: Dataset, *, training: bool, **options: Any) -> NumberedBatches:
        """The batches that the network is trained on, or validated."""
        raise NotImplementedError

    def require_data(self, train_dataset: Dataset, val_dataset: Dataset | None) -> None:
        """Refuse data that nothing can be learned from."""
        raise NotImplementedError

    def not_learned(self, dataset: Dataset) -> list[str]:
        """Sentences on what training passes over."""
        raise NotImplementedError

    def picture(self, dataset: Dataset, image_id: int) -> np.ndarray:
        """What is found in an image, and beside it the truth: uint8 [height, 2 * width, 3]."""
        raise NotImplementedError

    # === Files ===

    def set_log_dir(self, model_path: AnyPath | None = None) -> None:
        """Choose the run's folder: of the run that a checkpoint comes from, or a new one."""
        name = self.config.NAME or self.prefix
        self.folder = run_folder(self.model_dir, name, model_path, prefix=self.prefix)
        self.log_dir, self.checkpoint_path = self.folder.log_dir, self.folder.checkpoint_path
        self.epoch = self.folder.epoch

    def find_last(self) -> str:
        """Path of the last whole checkpoint of the newest run; see
        `training.run_folder.find_last_checkpoint`.

        In mode "training" it is that of the last whole epoch, from which `train` goes on as if it
        had never stopped.
        """
        return find_last_checkpoint(
            self.model_dir, self.config.NAME or self.prefix, self.mode == "training", self.prefix
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
        """Load a .h5 file in the original's layout, or a .pth file of torchvision's Mask R-CNN or
        ResNet.

        In mode "inference" a warning names the fields of the config that say what the network's
        outputs mean, such as the anchors, and are not those in the config.json beside the file; of
        a .pth file without one, in both modes, those that are not torchvision's.

        Args:
            filepath: of the training or the inference model, with ImageNet or COCO weights ...
            by_name: False asks that the file has every layer of the model.
            exclude: names of layers to leave at their values; implies ``by_name``.

        Returns:
            `weights.LoadReport`, which is also printed.

        Raises:
            FileNotFoundError, ValueError: see `weights.load_weights`.
        """
        report = load_weights(
            self.keras_model, filepath, by_name=bool(by_name or exclude), exclude=exclude
        )
        print(report)
        others = []
        if self.mode == "inference" or report.fields is not None:
            others = other_settings(self.config, filepath, report.fields)
        if others:
            warnings.warn(
                f"{filepath} was trained with other settings than the model's, so objects will be "
                f"missed{' until it is trained' if self.mode == 'training' else ''}: "
                f"{', '.join(others)}",
                stacklevel=2,
            )
        self.set_log_dir(filepath)
        self.run = self._optimizer = None  # what an earlier `train` left is not of these weights
        return report

    def save_weights(self, filepath: AnyPath) -> None:
        """Write the weights in the original's layout, whole or not at all; in a file that ends in
        ".pth" as a state dict for torchvision's Mask R-CNN.

        Where the path is a link, the link is replaced, and the file that it leads to stays as it
        is.

        Raises:
            ValueError: a .pth file of a network that torchvision does not have.
            OSError: the file could not be written; an older one is as it was.
        """
        if os.path.splitext(os.fspath(filepath))[1].lower() == ".pth":
            print(write_torchvision(filepath, model_layers(self.keras_model), self.config))
        else:
            save_h5(self.keras_model, filepath)

    def get_imagenet_weights(self) -> str:
        """Path of ImageNet weights for the backbone, downloaded on first use."""
        if self.config.BACKBONE in IMAGENET_WEIGHTS:
            if self.config.STRIDE_IN_3X3:
                raise ValueError(
                    "the ImageNet weights of Keras are of a ResNet whose strides are in the first "
                    "1x1 convolution, and STRIDE_IN_3X3 is True: set it to False, or give the "
                    f"path of torchvision's file of {self.config.BACKBONE}"
                )
            return imagenet_weights(self.config.BACKBONE)
        if is_resnext(self.config.BACKBONE):
            size = self.config.RESNEXT_GROUPS, self.config.RESNEXT_WIDTH
            return resnext_imagenet_weights(self.config.BACKBONE, *size)
        if callable(self.config.BACKBONE):
            raise ValueError("BACKBONE is a function of yours: load its weights by their path")
        if self.config.BACKBONE is None:
            raise ValueError(
                "BACKBONE is None, and there are no ImageNet weights for the network's own "
                "encoder: take a BACKBONE, such as 'resnet50', or start from random weights"
            )
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
            keras_model or self.keras_model,
            layer_regex,
            self.config.FREEZE_BACKBONE_STAGES,
            self.stages,
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
            layers: a word of ``stages``, such as "all", or a regular expression of layer names; or
                a list of `training.Stage` or (layers, epochs, learning rate), such as [("heads",
                20), ("all", 40, 1e-4)].
            augmentation: imgaug augmenter or a callable (image, masks) -> (image, masks).
            custom_callbacks: Keras callbacks, or a single one.
            no_augmentation_sources: sources of images to leave as they are.
            workers: threads that prepare batches.
            verbose: of ``fit``.
            evaluate_every: epochs between two measurements on ``val_dataset``, also after the last
                one, with pictures: ``measures`` are logged, as val_segm_AP or val_mIoU and so on
                (`training.validation`); 0: none.
            monitor: logged metric by which the best weights are kept, in the file that ends with
                _best.h5; None: ``best_measure`` where it is measured. Its name tells whether less
                is better (loss) or more (AP, acc, precision, recall, F1, IoU, Dice).

        Returns:
            keras.callbacks.History, with the losses times their weights.

        Raises:
            ValueError: the model is not a training model, a data set has no images, its classes
                or images do not fit the config, or monitor's name does not tell what is better.
            FloatingPointError: a loss is NaN or infinite; the message names the images and what is
                on them.
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

    def detector(self) -> Self:
        """One of mode "inference" on the very weights of this one, of mode "training".

        Its ``keras_model`` is this one's: what looks inside a network of mode "inference", such as
        `MaskRCNN.run_graph`, needs one that was made in that mode.
        """
        if self._detector is None or self._detector.keras_model is not self.keras_model:
            self._detector = copy.copy(self)
            self._detector.mode, self._detector._graph = "inference", None
        twin = self._detector
        twin.config = copy.copy(self.config)  # whose fields may have been changed since
        if self.config.IMAGE_RESIZE_MODE == "crop":  # which is for training
            twin.config.IMAGE_RESIZE_MODE = "pad64"
        if twin._graph is None:
            twin._make_graph()
        return twin

    def _needs_inference_mode(self, method: str) -> None:
        if self.mode != "inference":
            raise ValueError(
                f"the model was made in mode {self.mode!r}; {method} needs mode='inference'"
            )
