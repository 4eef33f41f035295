"""DTYPE_POLICY: the precision that a network computes in."""

import functools

import keras


def under_policy(build):
    """For a function of a ``Config`` that builds a network: its layers get DTYPE_POLICY.

    "float32", the default, leaves the policy that ``keras.config.set_dtype_policy`` has set. Layers
    that compute boxes, proposals and losses are float32 under any
    (`networks.layers.base.GraphLayer`), and so are weights.
    """

    @functools.wraps(build)
    def built(config, *args, **kwargs):
        if config.DTYPE_POLICY == "float32":
            return build(config, *args, **kwargs)
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(config.DTYPE_POLICY)
        try:
            return build(config, *args, **kwargs)
        finally:
            keras.config.set_dtype_policy(before)

    return built
