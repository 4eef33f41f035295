"""How the network learns: the step, stages, schedules, checkpoints, resuming and logs.

The public names are loaded when they are first used, because they bring in TensorFlow.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from mrcnn.training.pretraining import pretrain_backbone as pretrain_backbone
    from mrcnn.training.stages import STAGES as STAGES
    from mrcnn.training.stages import Stage as Stage
    from mrcnn.training.stages import alternating_stages as alternating_stages

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "pretraining": ["pretrain_backbone"],
        "stages": ["STAGES", "Stage", "alternating_stages"],
    },
)
