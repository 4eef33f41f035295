"""ComputeAfter changes when something is computed, and nothing else."""

import keras
import numpy as np
import tensorflow as tf

from mrcnn.networks.layers.compute_after import ComputeAfter


def test_value_and_gradient_are_those_of_the_first():
    x, other = tf.constant([1.0, 2.0]), tf.constant([[5.0]])
    with tf.GradientTape() as tape:
        tape.watch([x, other])
        given = ComputeAfter()([x, other])
        total = tf.reduce_sum(given * [3.0, 4.0])
    np.testing.assert_array_equal(given, x)
    first, second = tape.gradient(total, [x, other])
    np.testing.assert_array_equal(first, [3, 4])
    assert second is None


def test_in_a_graph_the_other_comes_first():
    @tf.function(input_signature=[tf.TensorSpec([None]), tf.TensorSpec([None])])
    def ordered(x, other):
        return tf.exp(ComputeAfter()([x, tf.sin(other)]))

    operations = ordered.get_concrete_function().graph.get_operations()
    exp = next(operation for operation in operations if operation.type == "Exp")
    assert [each.type for each in exp.inputs[0].op.control_inputs] == ["Sin"]


def test_in_a_model_and_back_from_a_file(tmp_path):
    one, other = keras.Input((3,)), keras.Input((5, 2))
    model = keras.Model([one, other], ComputeAfter()([one, other]))
    assert model.output.shape == (None, 3)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    values = np.ones((2, 3), np.float32), np.zeros((2, 5, 2), np.float32)
    np.testing.assert_array_equal(again.predict_on_batch(list(values)), values[0])
