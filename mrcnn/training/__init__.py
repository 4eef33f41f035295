"""Training: stages, the data that Keras reads, what happens around each epoch, and going on after a stop."""

from mrcnn.training.checkpoint import StateCheckpoint, WeightsCheckpoint  # noqa: F401
from mrcnn.training.data import CountEpochs, TrainingData, own_errors, training_data  # noqa: F401
from mrcnn.training.guards import StopOnBadLoss, TellWhatIsLeftOut  # noqa: F401
from mrcnn.training.loop import train  # noqa: F401
from mrcnn.training.optimizer import keep_slots, make_optimizer  # noqa: F401
from mrcnn.training.pretraining import pretrain_backbone  # noqa: F401
from mrcnn.training.stages import STAGES, Stage, alternating_stages, set_trainable, trainable_layers  # noqa: F401
