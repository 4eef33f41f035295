"""What the whole-network tests share: weights, written once, and the kernels of the reference
runs.
"""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.parity.network_weights import write_weights


@pytest.fixture(scope="session")
def network_weights(tmp_path_factory):
    """Path of a .h5 file of a ResNet-50 of 3 classes."""
    path = str(tmp_path_factory.mktemp("network") / "r50.h5")
    write_weights(path)
    return path


@pytest.fixture(scope="module")
def with_avx2():
    """A function (function, *arguments) -> what it returns, in a process with oneDNN's AVX2
    kernels.

    Those are what the processors had that the reference numbers come from. Others round otherwise:
    of 200 scores one moves by 1.3e-4, and over six steps other RoIs become positive.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            yield lambda function, *arguments: pool.submit(function, *arguments).result()
