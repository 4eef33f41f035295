"""TF_CONFIG, and each machine's rows of a batch."""

import json

import numpy as np
import pytest

from mrcnn.cli.train import training_config
from mrcnn.data.batches import TrainingBatches
from mrcnn.distributed.cluster import cluster, worker_count
from mrcnn.training.data import TrainingData
from tests.tiny import Rectangles, tiny_config


def set_cluster(monkeypatch, jobs, task):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))


def test_without_tf_config_a_machine_is_alone(monkeypatch):
    for text in (
        None,
        "",
        "{}",
        '{"cluster": {"worker": ["one:1"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {}, "task": {"type": "worker", "index": 0}}',
    ):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        if text is not None:
            monkeypatch.setenv("TF_CONFIG", text)
        assert cluster() is None and worker_count() == 1


@pytest.mark.parametrize(
    "jobs, task, index",
    [
        ({"worker": ["a:1", "b:2", "c:3"]}, {"type": "worker", "index": 2}, 2),
        ({"worker": ["a:1", "b:2", "c:3"]}, {"type": "worker", "index": 0}, 0),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, {"type": "worker", "index": 0}, 1),
        ({"chief": ["a:1"], "worker": ["b:2", "c:3"]}, {"type": "chief", "index": 0}, 0),
    ],
)
def test_workers_are_counted_with_the_chief(monkeypatch, jobs, task, index):
    set_cluster(monkeypatch, jobs, task)
    found = cluster()
    assert (
        found.workers == ("a:1", "b:2", "c:3")
        and found.index == index
        and found.is_chief == (index == 0)
    )
    assert worker_count() == 3
    # the settings are the same on every machine, and do not depend on the environment
    assert tiny_config(IMAGES_PER_GPU=2, GPU_COUNT=4).BATCH_SIZE == 8


def test_the_steps_of_an_epoch_are_counted_with_all_machines(monkeypatch):
    data = Rectangles(12)
    assert training_config({}, {}, data, data).STEPS_PER_EPOCH == 6
    set_cluster(monkeypatch, {"worker": ["a:1", "b:2"]}, {"type": "worker", "index": 1})
    config = training_config({}, {}, data, data)
    assert (config.BATCH_SIZE, config.STEPS_PER_EPOCH, config.VALIDATION_STEPS) == (2, 3, 3)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("{", "names no machine"),
        ("[1]", "names no machine"),
        ('{"cluster": {"worker": ["a:1", "b:2"]}}', "it has no 'task'"),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
            "its task is worker 2",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:2"], "ps": ["c:3"]}, "task": {"type": "ps", '
            '"index": 0}}',
            "its task is ps 0",
        ),
    ],
)
def test_a_wrong_tf_config_is_refused(monkeypatch, text, reason):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG") as error:
        cluster()
    assert reason in str(error.value) and '"index": 0' in str(error.value)


def test_the_rows_of_all_machines_are_the_batch_of_one():
    dataset, config = Rectangles(7), tiny_config(IMAGES_PER_GPU=1)
    whole = TrainingData(TrainingBatches(dataset, config, 6), 4, ["float32"] * 7, epoch=1)
    shares = [
        TrainingData(
            TrainingBatches(dataset, config, 2), 4, ["float32"] * 7, epoch=1, shard=(worker, 3)
        )
        for worker in range(3)
    ]
    for step in (0, 3):
        rows = [share[step][0] for share in shares]
        for arrays, expected in zip(zip(*rows), whole[step][0], strict=True):
            np.testing.assert_array_equal(np.concatenate(arrays), expected)
        ids = [
            image
            for number in shares[1].numbers(step)
            for image in shares[1].batches.image_ids(number)
        ]
        assert ids == whole.batches.image_ids(whole.first() + step)
    assert {share.batch_size for share in shares} == {whole.batch_size} == {6}
    # and no machine loads what another one does
    assert [len(share.batches._recent) for share in shares] == [2, 2, 2]
