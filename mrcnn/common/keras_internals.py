"""Every private name of Keras and TensorFlow that the package uses.

Each function says what it needs the name for. `tests/common/test_keras_internals.py` has a test for
each, which fails with a sentence where a new version has moved the name; the upper bounds of keras
and tensorflow in pyproject.toml are the versions that these tests passed with.
"""

import io

import keras
import tensorflow as tf


def all_layers(model):
    """Layers of a model, those inside nested models and layers too, without the model itself.

    ``model.layers`` has the outermost layers alone, and a composite layer has no such list.
    """
    return model._flatten_layers(include_self=False)


def layers_before(tensor):
    """The layers that a KerasTensor is computed from, its own included: a set.

    ``keras.Model(inputs, tensor).layers`` has them too, and with them inputs that do not count.
    """
    met, pending = set(), [tensor]
    while pending:
        layer, node_index, _ = pending.pop()._keras_history
        if (layer, node_index) not in met:  # a shared layer has a node for each of its calls
            met.add((layer, node_index))
            pending.extend(layer._inbound_nodes[node_index].input_tensors)
    return {layer for layer, _ in met}


def added_losses(model):
    """What the layers of a model gave to ``add_loss``, activity regularizers included, in the last
    call: a list of scalars, each a sum where a layer gave a tensor.

    ``model.losses`` has them too, but among the penalties of all regularizers.
    """
    losses = (loss for layer in model._flatten_layers() for loss in layer._get_own_losses())
    return [tf.reduce_sum(loss) for loss in losses]


def weights_file(model):
    """The content of a ".weights.h5" file of Keras' own, as io.BytesIO.

    Keras has HDF5 write to the disk, which ends the process where the disk is full.
    """
    from keras.src.saving import saving_lib

    content = io.BytesIO()
    store = saving_lib.H5IOStore(content, mode="w")
    saving_lib._save_state(
        model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set()
    )
    store.close()
    return content


class _IdentityOfKerasTensor(tf.__internal__.dispatch.OpDispatcher):
    """Asked by TensorFlow only after its own ``tf.identity`` has refused the arguments."""

    def handle(self, args, kwargs):
        tensor = args[0] if args else kwargs.get("input")
        return (
            keras.layers.Identity()(tensor)
            if isinstance(tensor, keras.KerasTensor)
            else self.NOT_SUPPORTED
        )


def let_identity_take_keras_tensors() -> None:
    """Let ``tf.identity`` take a model's input from now on, in the whole process.

    The original's notebooks call it so, which Keras 3 refuses; TensorFlow's public dispatch does
    not reach this function.
    """
    _IdentityOfKerasTensor().register(tf.identity)


# === Optimizers ===


def apply_reduced(optimizer, gradients, variables):
    """Like ``optimizer.apply``, for gradients that the devices have exchanged already.

    By itself an optimizer of Keras adds up the gradients of all devices, after it has clipped the
    gradient of each. From the first call on this optimizer leaves the gradients as they are, so
    that it clips what the whole batch gives.

    Args:
        optimizer: optimizer of Keras, with or without a LossScaleOptimizer around it.
        gradients: list of tensors, the same on all devices; None for a variable without one.
        variables: list of keras.Variable.

    Raises:
        NotImplementedError: this version of Keras adds them up in another place.
    """
    for part in _optimizers(optimizer):
        if not hasattr(type(part), "_all_reduce_sum_gradients"):
            raise NotImplementedError(
                f"Keras {keras.__version__} does not sum gradients in "
                "Optimizer._all_reduce_sum_gradients: mrcnn.common.keras_internals.apply_reduced "
                "must be adapted to it"
            )
        part._all_reduce_sum_gradients = _unchanged
    optimizer.apply(gradients, variables)


def _unchanged(gradients_and_variables):
    return gradients_and_variables


def _optimizers(optimizer):
    """An optimizer and those inside it: of a LossScaleOptimizer, of a MultiOptimizer."""
    inner = getattr(optimizer, "inner_optimizer", None)
    for part in [inner] if inner is not None else getattr(optimizer, "_inner_optimizers", ()):
        yield from _optimizers(part)
    yield optimizer


def variable_index(optimizer, variable):
    """The place of a variable's momentum, or other slot, in the optimizer's list of them.

    Args:
        optimizer: a built optimizer of Keras.
        variable: tf.Variable; also the part of one device, which its ``update_step`` is given.
    """
    return optimizer._get_variable_index(variable)


def adam_averages(optimizer: keras.optimizers.Adam, variable) -> tuple:
    """Adam's moving averages of a variable's gradient and of its square, as Keras variables."""
    index = variable_index(optimizer, variable)
    return optimizer._momentums[index], optimizer._velocities[index]


def learning_rate(optimizer, updates_ago=0):
    """The learning rate of the next update, or of an earlier one where a schedule gives it.

    ``optimizer.learning_rate`` is the rate of the next update alone. Returns a float.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(keras.ops.maximum(optimizer._iterations - updates_ago, 0))
    else:
        rate = optimizer.learning_rate
    return float(keras.ops.convert_to_numpy(rate))


# === fit ===


class BuiltModel(keras.Model):
    """A keras.Model whose layers are built when it is made: ``fit`` needs no batch to build it.

    With a strategy Keras would average a first batch over the devices to learn its shapes, which
    it cannot do with batches of bool, nor with those of several machines.
    """

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        del iterator, data_batch
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


def not_tuned(feed):
    """For ``fit``, the same batches without tf.data's search for better settings.

    The thread that searches sleeps for 10 ms and then twice as long each time, up to a minute. At
    the end of an epoch TensorFlow 2.21 tells it to stop, and waits for it. On one core the thread
    can wake before TensorFlow has noted that it is to stop, and then sleeps once more: for 57 s
    after an epoch of 85 s.

    Args:
        feed: what ``fit`` takes.
    """

    def dataset(make):
        options = tf.data.Options()
        options.autotune.enabled = False
        return make().with_options(options)

    return _with_dataset(feed, dataset)


def own_rows(feed, strategy, images):
    """For ``fit``, a machine's rows of the batches of several machines.

    Keras by itself takes whole batches, loads them on every machine and drops the others' rows.

    Args:
        feed: what ``fit`` takes, with the rows of this machine.
        strategy: of several machines.
        images: rows of one device.
    """

    def dataset(make):
        return strategy.distribute_datasets_from_function(lambda context: make().rebatch(images))

    return _with_dataset(feed, dataset)


def _with_dataset(feed, dataset):
    """What ``fit`` takes, with another tf.data pipeline.

    Args:
        feed: what ``fit`` takes.
        dataset: of a function that makes the pipeline of ``feed``, makes the other one.
    """
    from keras.src.trainers.data_adapters import get_data_adapter
    from keras.src.trainers.data_adapters.data_adapter import DataAdapter

    adapter = get_data_adapter(feed)

    class Changed(DataAdapter):
        num_batches = property(lambda self: adapter.num_batches)
        batch_size = None

        def get_tf_dataset(self):
            return dataset(adapter.get_tf_dataset)

        def on_epoch_begin(self):
            adapter.on_epoch_begin()

        def on_epoch_end(self):
            adapter.on_epoch_end()

    return Changed()


# === Several machines ===


def report_error_to_cluster(message):
    """Let the collective operations of all machines end with an error of this message."""
    from tensorflow.python.eager import context

    context.context().report_error_to_cluster(tf.errors.ABORTED, message)
