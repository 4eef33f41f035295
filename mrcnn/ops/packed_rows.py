"""The rows of a zero-padded batch that a head has to run on: pack them, put the results back.

A batch has as many rows as the fullest image may need. Most of them are padding or background,
whose results enter neither a loss nor a detection, so the heads run on the others alone. On all
rows a detection takes 0.87 -> 1.27 s (ResNet-50 at 512 px, 10 objects), and a step of the heads
3.07 -> 7.00 s and 2.08 -> 3.22 GB (two images of 256 px; AMD EPYC with AVX-512, 2 cores, TensorFlow
2.21, at commit 28596ff).
"""

from typing import NamedTuple

import tensorflow as tf

# Numbers of rows that a head is given: from 16 on up to 3 more than are needed, from 32 on 7, from
# 128 on an eighth. oneDNN compiles and keeps its kernels for each number of rows that they meet,
# about half a MB for the two heads in training: where every number is allowed, memory grows for
# hundreds of batches. And it fails on none: the gradient of a convolution with bias ends in
# "Missing 1-th output" (TensorFlow 2.21).
SIZES = [
    *range(1, 16),
    *range(16, 32, 4),
    *range(32, 128, 8),
    *(eighths << doubling for doubling in range(4, 20) for eighths in range(8, 16)),
]


class PackedRows(NamedTuple):
    """Which rows of a batch [b, n, ...] are packed, and where each row's result is found.

    By default the packed rows are filled up with (0, 0) until they are as many as one of `SIZES`,
    or as the batch has.
    """

    rows: tf.Tensor  # int32 [m, 2] of (image, row), image by image
    index: tf.Tensor  # int32 [b, n]: 1 + the place in ``rows``, 0 for rows that are not packed

    @classmethod
    def every(cls, values: tf.Tensor) -> "PackedRows":
        """All rows of ``values`` [b, n, ...]."""
        return cls._of(tf.ones(tf.shape(values)[:2], tf.bool))

    @classmethod
    def distinct(cls, boxes: tf.Tensor) -> "PackedRows":
        """All rows of boxes [b, n, 4], but of padding that follows padding only the first.

        What a head makes of one row of padding it makes of all of an image.
        """
        is_padding = tf.reduce_all(tf.equal(boxes, 0.0), axis=-1)
        after_padding = tf.concat([tf.zeros_like(is_padding[:, :1]), is_padding[:, :-1]], axis=1)
        return cls._of(~(is_padding & after_padding))

    @classmethod
    def objects(
        cls, class_ids: tf.Tensor, most: int | None = None, filled: bool = True
    ) -> "PackedRows":
        """The rows of class_ids [b, n] with a class above 0: neither background nor padding.

        Args:
            class_ids: int or float [b, n].
            most: rows that an image has at most, so that no more are filled up; None: n.
            filled: False leaves out the rows that only fill up; m may then be 0.
        """
        kept = class_ids > 0
        packed = cls._of(kept, most, filled)
        return cls(packed.rows, tf.where(kept, packed.index, 0))

    @classmethod
    def _of(cls, kept, most=None, filled=True):
        """Of bool [b, n]; a row that is not kept is given the place of the last one before it."""
        rows = tf.cast(tf.where(kept), tf.int32)
        index = tf.reshape(tf.cumsum(tf.cast(tf.reshape(kept, [-1]), tf.int32)), tf.shape(kept))
        if not filled:
            return cls(rows, index)
        images, count = tf.unstack(tf.shape(kept))
        all_rows = images * (count if most is None else tf.minimum(count, most))
        found = tf.shape(rows)[0]
        size = tf.reduce_min(tf.where(tf.constant(SIZES) >= found, SIZES, all_rows))
        filler = tf.zeros([tf.minimum(size, all_rows) - found, 2], tf.int32)
        return cls(tf.concat([rows, filler], axis=0), index)

    def pack(self, values: tf.Tensor) -> tf.Tensor:
        """The packed rows [m, ...] of values [b, n, ...]."""
        return tf.gather_nd(values, self.rows)

    def unpack(self, values: tf.Tensor) -> tf.Tensor:
        """Results [m, ...] of the packed rows as a batch [b, n, ...], 0 for the other rows."""
        return tf.gather(tf.pad(values, [[1, 0]] + [[0, 0]] * (values.shape.rank - 1)), self.index)
