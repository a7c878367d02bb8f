"""Every setting of a network and of a run, as frozen dataclasses without torch.

A configuration checks itself when it is made: all problems of one section are collected and raised as one
:class:`~capriccio.errors.ConfigError`. ``to_dict`` and ``from_dict`` are exact inverses over JSON types.
"""

from __future__ import annotations

from capriccio.config.augmentation import (
    AugmentConfig,
    AugmentMode,
    PipeName,
    Transformations,
    TransformationSettings,
)
from capriccio.config.networks import (
    MAX_START_SIDE,
    Activation,
    Architecture,
    DiscriminatorConfig,
    GeneratorConfig,
    ImageShape,
    MappingConfig,
    nearest_good_size,
    num_channels,
)
from capriccio.config.plain import (
    from_dict,
    hashed_dict,
    to_dict,
)
from capriccio.config.run import (
    MAX_SEED,
    CudaGraphs,
    DataConfig,
    EmaConfig,
    EpilogueForm,
    EvaluationConfig,
    FirForm,
    FormsConfig,
    Layout,
    LossConfig,
    OptimizerConfig,
    Precision,
    RgbForm,
    RunConfig,
    SavingConfig,
    SubjectName,
    UpForm,
)

__all__ = [
    "MAX_SEED",
    "MAX_START_SIDE",
    "Activation",
    "Architecture",
    "AugmentConfig",
    "AugmentMode",
    "CudaGraphs",
    "DataConfig",
    "DiscriminatorConfig",
    "EmaConfig",
    "EpilogueForm",
    "EvaluationConfig",
    "FirForm",
    "FormsConfig",
    "GeneratorConfig",
    "ImageShape",
    "Layout",
    "LossConfig",
    "MappingConfig",
    "OptimizerConfig",
    "PipeName",
    "Precision",
    "RgbForm",
    "RunConfig",
    "SavingConfig",
    "SubjectName",
    "TransformationSettings",
    "Transformations",
    "UpForm",
    "from_dict",
    "hashed_dict",
    "nearest_good_size",
    "num_channels",
    "to_dict",
]
