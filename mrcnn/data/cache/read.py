"""Batches of a cache by tf.data: TensorFlow's threads read and check the records, Python's make
batches of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from mrcnn.data.batches import TrainingBatches


# Bytes read at once; a read without a buffer takes several times as long.
BUFFER = 1 << 18


@tf.function(input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([], tf.int64)])
def read_record(path: str, offset: int) -> tf.Tensor:
    """The bytes of the record at an offset of a file, as a scalar tensor; b"" where its checksum is
    wrong.
    """
    # tf.data.TFRecordDataset has no argument for the offset
    records = tf.data.experimental.from_variant(
        tf.raw_ops.TFRecordDatasetV2(
            filenames=path, compression_type="", buffer_size=BUFFER, byte_offsets=offset
        ),
        tf.TensorSpec([], tf.string),
    )
    return (
        records.take(1)
        .ignore_errors()
        .concatenate(tf.data.Dataset.from_tensors(b""))
        .take(1)
        .get_single_element()
    )


def record_pipeline(
    batches: TrainingBatches,
    steps: int,
    first: Callable[[], int] = lambda: 0,
    make: Callable[[int, Mapping[int, Any]], Any] | None = None,
    workers: int = 1,
    shard: int = 0,
    num_shards: int = 1,
) -> tf.data.Dataset:
    """The batches of `TrainingBatches` over a `RecordDataset`, as a `tf.data.Dataset`.

    Element ``i`` is batch ``(first() + i) * num_shards + shard``, which depends on the seed and
    that number alone. Records are read by their offsets in the order of the batches, so that there
    is no buffer to shuffle in and every pass is a permutation of all images.

    Args:
        batches: `data.batches.TrainingBatches`; on several machines with the batch size of one of
            them.
        steps: number of elements.
        first: function that gives the number of the first batch, asked for each element.
        make: function (number, at_hand) -> arrays, as ``batches.batch``; None: that itself.
        workers: threads that make batches.
        shard, num_shards: number of this machine, and of all that share the data.

    Returns:
        `tf.data.Dataset` of tuples of tensors: the arrays of ``batches.batch``.

    Raises:
        ValueError: the cache was made with other settings than the config has, or what ``batch``
            raises.
    """
    if not 0 <= shard < num_shards:
        raise ValueError(
            f"shard is {shard} of num_shards {num_shards}; it must be at least 0 and less than that"
        )
    make = make or batches.batch
    records: Any = batches.dataset  # a `RecordDataset`, whose file imports this one
    size = batches.batch_size
    records.check_settings(batches.config)
    example = [np.asarray(array) for array in make(first() * num_shards + shard, {})]

    def places(step):
        number = (first() + int(step)) * num_shards + shard
        images = [
            next(batches.candidates(sample))[0]
            for sample in range(number * size, (number + 1) * size)
        ]
        paths, offsets = zip(*(records.image_info[image]["record"] for image in images))
        return (
            np.int64(number),
            np.array(images, np.int64),
            np.array([path.encode() for path in paths]),
            np.array(offsets, np.int64),
        )

    def read(number, images, paths, offsets):
        found = tf.map_fn(
            lambda place: read_record(*place),
            (tf.ensure_shape(paths, [size]), offsets),
            fn_output_signature=tf.string,
        )
        return number, images, found

    def made(number, images, found):
        at_hand = {
            int(image): records.decoded(int(image), record) for image, record in zip(images, found)
        }
        # an image without its record is loaded again, which says what is wrong
        return list(
            make(int(number), {image: part for image, part in at_hand.items() if part is not None})
        )

    def arrays(*found):
        tensors = tf.numpy_function(made, found, [array.dtype for array in example])
        for tensor, like in zip(tensors, example):
            # as Keras has it for other data: a graph of a known batch size is optimised to other
            # roundings
            tensor.set_shape((None, *like.shape[1:]))
        return tuple(tensors)

    parallel = {"num_parallel_calls": workers, "deterministic": True}
    return (
        tf.data.Dataset.range(steps)
        .map(
            lambda step: tf.numpy_function(
                places, [step], [tf.int64, tf.int64, tf.string, tf.int64]
            )
        )
        .map(read, **parallel)
        .map(arrays, **parallel)
        .prefetch(workers)
    )
