"""Weights of the whole-network tests, written once."""

import pytest

from network_weights import write_weights


@pytest.fixture(scope="session")
def network_weights(tmp_path_factory):
    """Path of a .h5 file of a ResNet-50 of 3 classes."""
    path = str(tmp_path_factory.mktemp("network") / "r50.h5")
    write_weights(path)
    return path
