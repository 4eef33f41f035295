"""Cases about the machine and the start: attainable rates, imports."""

import os
import pkgutil
import statistics
import subprocess
import sys

import measure

FOLDER = os.path.dirname(os.path.abspath(__file__))


def rates(quick, repeats, onednn=None):
    """The rate at which TensorFlow does large pieces of work here, in GFLOP/s.

    A 3x3 convolution of 256 to 256 channels at 64 px and at 256 px, batch 2 (TensorFlow is
    slower at 1), and a product of two 4096 x 4096 matrices, float32. ``onednn`` "0"
    or "1" switches oneDNN; None takes it as it is where this package runs.
    """
    if onednn is not None:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = onednn
    # first, as the package may choose settings on import
    from mrcnn import model  # noqa: F401

    import tensorflow as tf  # isort: skip

    @tf.function
    def convolution(image, kernel):
        return tf.nn.conv2d(image, kernel, 1, "SAME")

    product = tf.function(tf.matmul)
    channels, side = (16, 128) if quick else (256, 4096)
    kernel = tf.random.normal([3, 3, channels, channels], stddev=0.02)
    work = {
        f"convolution_{size}": (
            2 * 2 * 9 * channels**2 * size**2,
            convolution,
            (tf.random.normal([2, size, size, channels]), kernel),
        )
        for size in (64, 256)
    }
    work["matmul"] = (
        2 * side**3,
        product,
        (tf.random.normal([side, side]), tf.random.normal([side, side])),
    )
    found = {}
    for name, (flop, function, arguments) in work.items():
        # reading one number waits for the result
        times = measure.repeat(lambda: function(*arguments)[..., -1, -1].numpy(), repeats)
        found[name] = {**times, "gflop_per_second": flop / 1e9 / times["seconds"]}
    return {
        "seconds": sum(row["seconds"] for row in found.values()),
        "work": found,
        "rates": {name: row["gflop_per_second"] for name, row in found.items()},
    }


def imports(quick, repeats):
    """Import mrcnn.model, against TensorFlow alone, each time in a new process and in turn."""
    lines = {"tensorflow": "import tensorflow", "mrcnn.model": "import mrcnn.model"}
    times, peaks = {name: [] for name in lines}, {}
    for _ in range(repeats + 1):
        for name, line in lines.items():
            seconds, peaks[name] = import_cost(line)
            times[name].append(seconds)
    first = times["mrcnn.model"][0]
    # the first reads the files from the disk
    times = {name: values[1:] for name, values in times.items()}
    medians = {name: statistics.median(values) for name, values in times.items()}
    # not the memory of this process, which imports nothing
    return {
        "peak_bytes": peaks["mrcnn.model"],
        "tensorflow_megabytes": peaks["tensorflow"] / 1e6,
        "first_call": first,
        "seconds": medians["mrcnn.model"],
        "times": times["mrcnn.model"],
        "tensorflow_times": times["tensorflow"],
        "tensorflow_seconds": medians["tensorflow"],
        "beyond_tensorflow_seconds": medians["mrcnn.model"] - medians["tensorflow"],
    }


def imports_light(quick, repeats):
    """Import mrcnn.config and all of mrcnn.data but its cache, and tell whether that brings in
    TensorFlow or Keras.
    """
    import mrcnn.data

    names = [
        "mrcnn.config",
        *(
            module.name
            for module in pkgutil.walk_packages(mrcnn.data.__path__, "mrcnn.data.")
            if not module.name.startswith("mrcnn.data.cache")  # TFRecord files are TensorFlow's
        ),
    ]
    heavy = {
        name: _python(
            f"import sys, {name}; print(*sorted({{'tensorflow', 'keras'}} & set(sys.modules)))"
        ).split()
        for name in names
    }
    times, peaks = zip(*(import_cost("import " + ", ".join(names)) for _ in range(repeats + 1)))
    return {
        "peak_bytes": peaks[-1],
        "first_call": times[0],
        "seconds": statistics.median(times[1:]),
        "times": list(times[1:]),
        "modules": len(names),
        "modules_with_tensorflow": [name for name, brought in heavy.items() if brought],
    }


def import_cost(line):
    """Seconds and peak bytes of an import by a new Python."""
    seconds, peak = _python(
        f"import sys, time; start = time.perf_counter(); {line}; took = time.perf_counter() - "
        f"start; sys.path.insert(0, {FOLDER!r}); import measure; print(took, measure.peak_bytes())"
    ).split()
    return float(seconds), int(peak)


def _python(code):
    """What a new Python prints last."""
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()[-1] if done.stdout.strip() else ""
