"""What test_machines runs on each machine.

Arguments: the task, the folder of the runs, the .npz file to write.
"""

import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

from mrcnn.data.cache.dataset import RecordDataset
from mrcnn.data.cache.write import write_records
from mrcnn.distributed.cluster import cluster
from mrcnn.model import MaskRCNN
from tests.tiny import Rectangles, randomize, tiny_config, values

# see devices_program
tf.config.threading.set_intra_op_parallelism_threads(1)

task, folder, end = sys.argv[1:]
me = cluster().index if cluster() else None


class Data(Rectangles):
    def load_image(self, image_id):
        if task == "bad image" and me == 1:
            raise OSError("the disk of worker 1 is gone")
        return super().load_image(image_id)


class Die(keras.callbacks.Callback):
    """As a machine that loses its power, in the second step of the second epoch."""

    def on_train_batch_end(self, batch, logs=None):
        if task == f"kill {me}" and batch == 1 and self.model.optimizer.iterations == 4:
            os.kill(os.getpid(), signal.SIGKILL)


config = tiny_config(
    IMAGES_PER_GPU=2 if me is None else 1,
    POST_NMS_ROIS_TRAINING=30,
    TRAIN_ROIS_PER_IMAGE=1000,
    ROI_POSITIVE_RATIO=0.03,
    USE_RPN_ROIS=False,
    SEED=None if task == "seedless" else 0,
    HEAD_INIT="torchvision" if task == "seedless" else "glorot",
)
model = MaskRCNN("training", config, folder)
if model.resume() is None:
    if task != "seedless":
        randomize(model.keras_model)
    np.random.seed(me or 0)
print("begins with epoch", model.epoch)
sets = [Data(6), Data(3)]
if task == "cache":  # every machine has a copy of its own
    for number, dataset in enumerate(sets):
        write_records(dataset, config, f"{folder}{me}_{number}", shards=2, progress=False)
        sets[number] = RecordDataset(f"{folder}{me}_{number}")
history = model.train(*sets, 0.02, 2, "all", custom_callbacks=[Die()], evaluate_every=2).history
arrays = {name.replace("/", "|"): value for name, value in values(model.keras_model).items()}
np.savez(
    end,
    loss=history["loss"],
    val_loss=history["val_loss"],
    val_AP=history["val_segm_AP"],
    seed=model.run.seed,
    epoch=model.epoch,
    images=model.run.images,
    **arrays,
)
