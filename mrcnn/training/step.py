"""One training step: from a batch to new weights and the line that is logged."""

import types

import keras
import numpy as np
import tensorflow as tf

from mrcnn.common.keras_internals import BuiltModel, added_losses, apply_reduced
from mrcnn.distributed.reduce import mean_over_devices
from mrcnn.distributed.strategy import for_keras
from mrcnn.networks.h5_model import H5Model
from mrcnn.networks.layers.base import PACKAGE
from mrcnn.networks.layers.loss import loss_names
from mrcnn.networks.layers.weight_decay import decay_gradient, decay_penalty, other_penalties
from mrcnn.training.gradient_sum import GradientSum
from mrcnn.training.optimizer import numbered, optimizer_variables, restore
from mrcnn.training.updates_in_place import updates_in_place
from mrcnn.training.weight_average import WeightAverage


@keras.saving.register_keras_serializable(PACKAGE)
class TrainingModel(BuiltModel, H5Model):
    """The network with the step that trains it; its losses are outputs of `LossLayer`s.

    Attributes:
        gradient_sum: `GradientSum`, or None where every batch makes an update.
        average: `WeightAverage` of the variables in training, or None.
    """

    gradient_sum = None
    average = None

    def train_step(self, data):
        """Learn from one batch; returns the logs, {name: mean of the epoch's batches so far}."""
        inputs, *_ = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.trainable_variables
        with tf.GradientTape() as tape:
            losses = self.weighted_losses(self(inputs, training=True))
            total = tf.add_n([*losses.values(), *added_losses(self), *other_penalties(variables)])
            scaled = self.optimizer.scale_loss(total)  # for float16, which loses small gradients
        gradients = tape.gradient(scaled, variables)
        logs = self.log(losses, total + decay_penalty(variables))
        if self.gradient_sum is None:
            self.update(gradients)
        else:
            self.gradient_sum.add(gradients, self.update)
        return logs

    def update(self, gradients):
        """Change the weights: mean over devices, weight decay, clipping, optimizer, average.

        Args:
            gradients: of each trainable variable, scaled for float16; None for one that no loss
                depends on.
        """
        variables = self.trainable_variables
        gradients = mean_over_devices(gradients)
        # All that follows waits for the last gradient. Otherwise TensorFlow computes what needs
        # the weights or the momentum alone at the start of a step, and keeps it until the end.
        with tf.control_dependencies([tf.group(*(g for g in gradients if g is not None))]):
            gradients = [self.with_decay(*pair) for pair in zip(gradients, variables, strict=True)]
            apply_reduced(self.optimizer, gradients, variables)  # which clips them first
            if self.average is not None:
                self.average.update()

    def with_decay(self, gradient, variable):
        """A variable's gradient of the losses and of its weight decay."""
        decay = decay_gradient(variable)
        if decay is None:
            return gradient
        decay = self.optimizer.scale_loss(decay)
        return decay if gradient is None else gradient + decay

    def test_step(self, data):
        """The losses of one batch; returns logs as `train_step`."""
        inputs, *_ = keras.utils.unpack_x_y_sample_weight(data)
        losses = self.weighted_losses(self(inputs, training=False))
        others = [*added_losses(self), *other_penalties(self.trainable_variables)]
        total = tf.add_n([*losses.values(), *others])
        return self.log(losses, total + decay_penalty(self.trainable_variables))

    def weighted_losses(self, outputs):
        """{name: scalar} of the losses among the outputs, times the weights of their layers."""
        outputs = dict(zip(self.output_names, outputs, strict=True))
        return {name: self.get_layer(name).weight * outputs[name] for name in loss_names(self)}

    def log(self, losses, total):
        """Count the losses of a batch in; returns the logs."""
        trackers = {metric.name: metric for metric in self.metrics}
        for name, value in {"loss": total, **losses}.items():
            trackers[name].update_state(value)
        return for_keras(self.distribute_strategy, self.get_metrics_result())

    # === Keras' loops over batches ===

    def fit(self, x=None, *args, validation_data=None, **options):
        """Keras' ``fit``, which also takes the generator of `data.batches.data_generator`."""
        return super().fit(
            self.as_tuples(x), *args, validation_data=self.as_tuples(validation_data), **options
        )

    def evaluate(self, x=None, *args, **options):
        """Keras' ``evaluate``, which also takes that generator."""
        return super().evaluate(self.as_tuples(x), *args, **options)

    def as_tuples(self, batches):
        """Batches as Keras 3 wants them, where they are a generator of (inputs, outputs) in lists,
        as in the original; whatever else is given comes back as it is.

        Outputs, which are targets of the generator's own regions, enter no loss here.
        """
        if not isinstance(batches, types.GeneratorType):
            return batches

        def as_tuple(batch):
            inputs, *_ = batch
            if not isinstance(inputs, list):
                return batch
            if len(inputs) != len(self.inputs):
                raise ValueError(
                    f"the generator gives {len(inputs)} inputs and the network has "
                    f"{len(self.inputs)}: random_rois is for USE_RPN_ROIS = False, and "
                    "detection_targets for no network"
                )
            pairs = zip(inputs, self.inputs)
            return (tuple(np.asarray(array, tensor.dtype) for array, tensor in pairs),)

        return (as_tuple(batch) for batch in batches)

    # === Setting it up ===

    def compile(
        self, optimizer="rmsprop", loss=None, *, accumulation=1, average_momentum=None, **options
    ):
        """Keras' ``compile``; the losses are those of the network, and need not be given.

        Args:
            optimizer: any optimizer of Keras.
            accumulation: number of batches whose mean gradient makes one update.
            average_momentum: share of the old value in the moving average of the weights; None
                keeps no average.
            options: of Keras' ``compile``.

        Raises:
            ValueError: ``loss`` is given, or gradients cannot be accumulated here.
        """
        if any(part is not None for part in keras.tree.flatten(loss)):
            raise ValueError(
                f"compile got loss={loss!r}, but the network computes its losses itself: leave it "
                "out; Config.LOSS_WEIGHTS weights them"
            )
        super().compile(optimizer, **options)
        updates_in_place(getattr(self.optimizer, "inner_optimizer", self.optimizer))
        variables = self.trainable_variables
        self.gradient_sum = GradientSum(variables, accumulation) if accumulation > 1 else None
        self.average = WeightAverage(variables, average_momentum) if average_momentum else None

    @property
    def accumulation(self):
        """Number of batches whose mean gradient makes one update."""
        return self.gradient_sum.steps if self.gradient_sum is not None else 1

    def get_compile_config(self):
        """Keras' own, with the arguments of `compile` that are ours."""
        config = super().get_compile_config()
        if config:  # empty of a model that is not compiled, nor to be when it is loaded
            config["accumulation"] = self.accumulation
            config["average_momentum"] = self.average.momentum if self.average else None
        return config

    def compile_from_config(self, config):
        """Compile as a model was that comes from a file, or is a copy."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def save_own_variables(self, store):
        """Into a .keras file: an unfinished sum of gradients and the average, beside Keras' own."""
        super().save_own_variables(store)
        for name, variable in self._beside_the_optimizer().items():
            store[name] = variable

    def load_own_variables(self, store):
        """From a .keras file; what it does not have keeps its value."""
        found = {name: store[name] for name in store.keys()}
        # Keras' own are numbers
        super().load_own_variables({name: found[name] for name in found if name.isdigit()})
        restore(self._beside_the_optimizer(), found)

    def _beside_the_optimizer(self):
        holders = [holder for holder in (self.gradient_sum, self.average) if holder is not None]
        return dict(numbered((v.name, v) for holder in holders for v in holder.variables))

    def state_variables(self):
        """name -> variable of all that a training changes besides the weights: of the optimizer, of
        a sum of gradients that is not complete, of the average.
        """
        return {**optimizer_variables(self.optimizer), **self._beside_the_optimizer()}

    def count_updates_of(self, batches):
        """Go on from a state whose updates took another number of batches: the optimizer counts
        updates, schedules count batches.

        Args:
            batches: of an update until now. The batches since the last one are forgotten.
        """
        if batches == self.accumulation:
            return
        updates = self.optimizer.iterations
        updates.assign(updates * batches // self.accumulation)
        if self.gradient_sum is not None:
            self.gradient_sum.clear()
