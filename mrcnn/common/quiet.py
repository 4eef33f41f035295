"""Import TensorFlow without the lines that its C++ code prints at every start.

They say how TensorFlow was built and that there is no GPU; at the first detection eight lines of
1 kB follow, in which its graph optimizer cannot estimate a cost ("Error in PredictCost()").
Errors and Python's warnings are shown. So is everything where the user has set
TF_CPP_MIN_LOG_LEVEL, or imported TensorFlow before this package. TensorFlow before 2.21 prints the
lines of the first detection whatever its level is.

`at_import_of_tensorflow` is called in ``mrcnn/__init__.py``, before any module of the package can
import TensorFlow or Keras.
"""

import contextlib
import os
import re
import sys
import tempfile

LEVEL = "TF_CPP_MIN_LOG_LEVEL"
GPU_DEVICES = "/dev/nvidiactl", "/dev/dxg", "/dev/kfd"  # NVIDIA; under Windows; AMD
# Printed before TensorFlow reads the level, or as an error where all that is wrong is that there is
# no GPU.
KNOWN = re.compile(
    rb"failed call to cuInit: .*UNKNOWN ERROR"
    rb"|Could not find cuda drivers on your machine"
    rb"|All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    rb"|Unable to register cu(FFT|DNN|BLAS) factory"
    rb"|computation placer already registered"
    rb"|oneDNN custom operations are on"
    rb"|This TensorFlow binary is optimized to use available CPU instructions"
    rb"|To enable the following instructions: .* rebuild TensorFlow"
)


def at_import_of_tensorflow() -> None:
    """Have the first import of TensorFlow, whoever asks for it, done quietly."""
    if LEVEL not in os.environ and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietFinder())


class _QuietFinder:
    """Finds TensorFlow with Python's other finders, and has it run quietly once."""

    def find_spec(self, name, path=None, target=None):
        if name != "tensorflow":
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        specs = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            # a loader of this one import
            spec.loader.exec_module = lambda module: self.run_quietly(run, module)  # type: ignore[method-assign]
        return spec

    def run_quietly(self, run, module):
        sys.meta_path.remove(self)
        if LEVEL in os.environ:  # set since
            run(module)
            return
        os.environ[LEVEL] = "2"  # errors; TensorFlow reads it once, while it is imported
        try:
            with _without_known_lines():
                run(module)
                if not any(map(os.path.exists, GPU_DEVICES)):
                    # looking for a GPU prints that there is none; where there is one, the user may
                    # still want to choose by CUDA_VISIBLE_DEVICES
                    module.config.list_physical_devices()
        finally:
            del os.environ[LEVEL]  # it is not for the processes that are started from here


@contextlib.contextmanager
def _without_known_lines():
    """Hold back what is written to stderr, by C++ too, and write it without `KNOWN` in the end.

    What a crash of the process leaves unwritten can be seen with TF_CPP_MIN_LOG_LEVEL=0.
    """
    try:
        stderr = os.dup(2)
    except OSError:  # closed, as under pythonw
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            for line in held:
                if not KNOWN.search(line):
                    os.write(2, line)
