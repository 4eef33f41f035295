"""Less memory for a longer training step: the insides of residual blocks computed once more.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost": of each block only the result is
kept, and the backward pass computes its inside again. That is one more forward pass of the
backbone.
"""

import re

import keras

# The last layer of a residual block.
END_OF_BLOCK = re.compile(r"res(\d)[a-z]+_out")


class Rematerialized:
    """A model as a function that keeps of each residual block only the result.

    Args:
        model: functional keras.Model with a backbone of `networks.backbones.resnet`, whose first
            input is the image.

    Raises:
        ValueError: the model has no such block.
    """

    def __init__(self, model: keras.Model):
        named = [(layer, END_OF_BLOCK.fullmatch(layer.name)) for layer in model.layers]
        ends = [(layer.output, match[1]) for layer, match in named if match]
        if not ends:
            raise ValueError(
                "REMATERIALIZE is True, but the backbone has no residual blocks named res2a_out and"
                " so on: set it to False, or use a BACKBONE such as 'resnet50'"
            )
        outputs, stages = zip(*ends)
        starts = [model.inputs[0], *outputs[:-1]]
        self.blocks = [keras.Model(start, end) for start, end in zip(starts, outputs)]
        # the rest of the network reads the last block of each stage
        self.is_last = [stage not in stages[number + 1 :] for number, stage in enumerate(stages)]
        kept = [output for output, last in zip(outputs, self.is_last) if last]
        self.rest = keras.Model([*kept, *model.inputs], model.outputs)
        self.dtypes = [tensor.dtype for tensor in model.inputs]

    def __call__(self, inputs: list, training: bool = True) -> list:
        """The model's outputs for its inputs."""
        inputs = [keras.ops.convert_to_tensor(*pair) for pair in zip(inputs, self.dtypes)]
        x, kept = inputs[0], []
        for block, last in zip(self.blocks, self.is_last):
            x = keras.remat(lambda x, block=block: block(x, training=training))(x)
            if last:
                kept.append(x)
        return self.rest([*kept, *inputs], training=training)
