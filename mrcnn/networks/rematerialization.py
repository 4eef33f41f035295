"""Less memory for a longer training step: feature maps computed once more instead of kept.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost": of each block only the result is
kept, and the backward pass computes its inside anew. That is one forward pass more of these blocks.
"""

import re

import keras

# The last layer of a residual block, and the layers of the mask head that run on RoIs with an
# object.
END_OF_BLOCK = re.compile(r"res\d[a-z]+_out")
MASK_HEAD = re.compile(r"mrcnn_mask_(conv|bn|deconv).*")


def blocks(model):
    """The nodes of a functional model in the order in which they run, in blocks.

    Args:
        model: functional keras.Model.

    Returns:
        list of (nodes, rematerialize): a residual block of the backbone, what comes before its
        first one included, or the mask head, with True; the rest one by one, with False.
    """
    nodes = [
        node
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
        if not node.is_input
    ]
    ends = [
        number for number, node in enumerate(nodes) if END_OF_BLOCK.fullmatch(node.operation.name)
    ]
    starts = [0, *(end + 1 for end in ends)]
    found = [(nodes[start : end + 1], True) for start, end in zip(starts, ends)]
    head = _between(
        [node for node in nodes if MASK_HEAD.fullmatch(node.operation.name)], nodes[starts[-1] :]
    )
    for node in nodes[starts[-1] :]:
        if head and node is head[0]:
            found.append((head, True))
        elif node not in head:
            found.append(([node], False))
    return found


def _between(named, nodes):
    """The nodes on the way from the first to the last of those that were found by name."""
    if not named:
        return []
    reached, chosen = {id(tensor) for tensor in named[0].outputs}, [named[0]]
    for node in nodes[nodes.index(named[0]) + 1 : nodes.index(named[-1]) + 1]:
        if all(id(tensor) in reached for tensor in node.input_tensors):
            reached.update(id(tensor) for tensor in node.outputs)
            chosen.append(node)
    return chosen


def run(model, inputs, training):
    """What calling a functional model returns, with its `blocks` rematerialised.

    Args:
        model: functional keras.Model; its random layers must not be in a block.
        inputs: list of its input tensors.
        training: passed to the layers.

    Returns:
        list of its output tensors.
    """
    known = {id(tensor): value for tensor, value in zip(model.inputs, inputs)}
    parts = blocks(model)
    used_by = {}
    for number, (nodes, _) in enumerate(parts):
        for node in nodes:
            for tensor in node.input_tensors:
                used_by.setdefault(id(tensor), set()).add(number)
    wanted = {id(tensor) for tensor in model.outputs}
    for number, (nodes, rematerialize) in enumerate(parts):
        made = [id(tensor) for node in nodes for tensor in node.outputs]
        given = list(
            dict.fromkeys(
                id(tensor)
                for node in nodes
                for tensor in node.input_tensors
                if id(tensor) not in made
            )
        )
        kept = [key for key in made if key in wanted or used_by.get(key, set()) - {number}]

        def block(*values, nodes=nodes, given=given, kept=kept):
            inside = dict(zip(given, values))
            for node in nodes:
                _run_node(node, inside, training)
            return [inside[key] for key in kept]

        values = [known[key] for key in given]
        known.update(zip(kept, keras.remat(block)(*values) if rematerialize else block(*values)))
    return [known[id(tensor)] for tensor in model.outputs]


def _run_node(node, known, training):
    """Call the layer of a node on tensors from ``known``, and add its results to it."""
    arguments, options = node.arguments.fill_in(known)
    if "training" in getattr(node.operation, "_call_context_args", ()):
        options["training"] = training
    outputs = keras.tree.flatten(node.operation(*arguments, **options))
    known.update((id(tensor), value) for tensor, value in zip(node.outputs, outputs))
