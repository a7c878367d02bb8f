"""The settings of a run: what is learnt from, how, in which forms it is computed, and what is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from capriccio.config.augmentation import AugmentConfig
from capriccio.config.check import check
from capriccio.config.networks import DiscriminatorConfig, GeneratorConfig

SubjectName = Literal["landscapes", "faces", "cats", "cars", "art", "textures"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
FirForm = Literal["auto", "depthwise", "shifted", "triton"]
UpForm = Literal["auto", "transposed", "phases", "folded"]
EpilogueForm = Literal["auto", "matrix", "pointwise"]
RgbForm = Literal["auto", "matrix", "pointwise"]
Layout = Literal["auto", "channels_last", "contiguous"]
CudaGraphs = Literal["auto", "on", "off"]

MAX_SEED = 2**32 - 1
"""Largest seed of a run and of a picture: that of NumPy's RandomState, the field's convention."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The pictures a run learns from."""

    path: str = ""
    """Archive (.zip), or folder of pictures. A folder of odd photographs is built into the cache first. Tar shards,
    such as https://host/set-{000..127}.tar, are streamed."""
    labels: bool = False
    """Train conditionally on the labels of the data set."""
    mirror: bool = False
    """Double the data set by mirroring left and right."""
    subset: int | None = None
    """Train on this many randomly chosen pictures; null = all."""
    holdout: int | None = None
    """Pictures set aside before anything is learnt; null = 5 %, at most 1,000."""
    cache: Literal["auto", "none", "raw", "device", "stream"] = "auto"
    """none: decode each time; raw: memory-mapped bytes; device: all pictures in device memory; stream: straight from
    tar shards, also behind addresses; auto: choose."""
    shuffle_buffer: int = 1024
    """Pictures that are shuffled together when streaming; as many again are read ahead."""

    def __post_init__(self) -> None:
        check(
            "data",
            (self.subset is None or self.subset >= 1, f"subset must be at least 1 or null, got {self.subset}"),
            (self.holdout is None or self.holdout >= 0, f"holdout must be at least 0 or null, got {self.holdout}"),
            (self.shuffle_buffer >= 1, f"shuffle_buffer must be at least 1, got {self.shuffle_buffer}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """The objective: logistic loss, R1, path length regularisation, style mixing (StyleGAN2, section 3)."""

    r1_gamma: float = 10.0
    """Weight of R1; the loss adds gamma/2 times the squared gradient. Grows with the number of pixels."""
    r1_interval: int | None = 16
    """Iterations between two R1 steps (lazy regularisation); null = part of the main step."""
    pl_weight: float = 2.0
    """Weight of path length regularisation; 0 = off."""
    pl_interval: int | None = 4
    """Iterations between two path length steps; null = part of the main step."""
    pl_decay: float = 0.01
    """Decay of the running mean of path lengths."""
    pl_batch_shrink: int = 2
    """Path lengths use 1/this of the batch."""
    mixing_prob: float = 0.9
    """Probability that a batch is generated from two mixed latents."""
    w_avg_updates: Literal["every-pass", "discriminator-pass"] = "every-pass"
    """When the running mean of w moves: in every training pass of the generator, or only when it makes fakes for the
    discriminator's main step."""
    zero_gradients: Literal["zeros", "absent"] = "zeros"
    """What a parameter that a regulariser does not touch gets in its step: a zero gradient (as in the first PyTorch
    reference: Adam decays its moments) or none (as in the later one: Adam skips it)."""

    def __post_init__(self) -> None:
        check(
            "loss",
            (self.r1_gamma >= 0, f"r1_gamma must be at least 0, got {self.r1_gamma}"),
            (
                self.r1_interval is None or self.r1_interval >= 1,
                f"r1_interval must be at least 1 or null, got {self.r1_interval}",
            ),
            (self.pl_weight >= 0, f"pl_weight must be at least 0, got {self.pl_weight}"),
            (
                self.pl_interval is None or self.pl_interval >= 1,
                f"pl_interval must be at least 1, got {self.pl_interval}",
            ),
            (0 < self.pl_decay <= 1, f"pl_decay must lie in 0..1, got {self.pl_decay}"),
            (self.pl_batch_shrink >= 1, f"pl_batch_shrink must be at least 1, got {self.pl_batch_shrink}"),
            (0 <= self.mixing_prob <= 1, f"mixing_prob must lie in 0..1, got {self.mixing_prob}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """Adam, one for each network; corrected for lazy regularisation when the run is set up."""

    generator_lr: float = 0.002
    """Learning rate of the generator."""
    discriminator_lr: float = 0.002
    """Learning rate of the discriminator."""
    beta1: float = 0.0
    """Decay of the first moment."""
    beta2: float = 0.99
    """Decay of the second moment."""
    eps: float = 1e-8
    """Added to the root of the second moment."""
    accumulation: Literal["mean", "sum"] = "mean"
    """How the gradients of several rounds combine. The reference programs sum, which Adam hardly notices."""

    def __post_init__(self) -> None:
        check(
            "optimizer",
            (self.generator_lr > 0, f"generator_lr must be positive, got {self.generator_lr}"),
            (self.discriminator_lr > 0, f"discriminator_lr must be positive, got {self.discriminator_lr}"),
            (0 <= self.beta1 < 1, f"beta1 must lie in 0..1, got {self.beta1}"),
            (0 <= self.beta2 < 1, f"beta2 must lie in 0..1, got {self.beta2}"),
            (self.eps > 0, f"eps must be positive, got {self.eps}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmaConfig:
    """The averaged generator, the one pictures are made with."""

    half_life_kimg: float = 10.0
    """Half-life of the average, in thousands of images."""
    rampup: float | None = 0.05
    """While the run is young the half-life is this share of its length; null = no ramp-up."""

    def __post_init__(self) -> None:
        check(
            "ema",
            (self.half_life_kimg >= 0, f"half_life_kimg must be at least 0, got {self.half_life_kimg}"),
            (self.rampup is None or self.rampup > 0, f"rampup must be positive or null, got {self.rampup}"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SavingConfig:
    """What a run writes, how often, and how much of it is kept."""

    kimg_per_tick: float = 4.0
    """A tick ends after this many thousand images: one line of statistics."""
    snapshot_kimg: float = 50.0
    """Sample grid and snapshot after this many thousand images."""
    snapshot_minutes: float = 30.0
    """Sample grid and snapshot at the latest after this many minutes; a later one of the same kimg replaces it."""
    first_snapshot_minutes: float = 5.0
    """The first one comes at the latest after this many minutes."""
    checkpoint_minutes: float = 15.0
    """Checkpoint at the latest after this many minutes; one also goes with every snapshot."""
    keep_checkpoints: int = 2
    """Newest checkpoints that are kept; with metrics, that of the best snapshot as well."""
    keep_snapshots: int | None = 20
    """Newest snapshots that are kept; null = all."""
    disk_budget_gb: float | None = None
    """Oldest snapshots are removed when the run folder grows beyond this; null = no limit."""
    travelling: bool = False
    """With every snapshot, and when the run is stopped, write travelling.safetensors anew: half precision, for
    --continue-from on another machine."""

    def __post_init__(self) -> None:
        intervals = (
            "kimg_per_tick",
            "snapshot_kimg",
            "snapshot_minutes",
            "first_snapshot_minutes",
            "checkpoint_minutes",
        )
        check(
            "saving",
            *((getattr(self, n) > 0, f"{n} must be positive, got {getattr(self, n)}") for n in intervals),
            (self.keep_checkpoints >= 1, f"keep_checkpoints must be at least 1, got {self.keep_checkpoints}"),
            (
                self.keep_snapshots is None or self.keep_snapshots >= 1,
                f"keep_snapshots must be at least 1 or null, got {self.keep_snapshots}",
            ),
            (
                self.disk_budget_gb is None or self.disk_budget_gb > 0,
                f"disk_budget_gb must be positive or null, got {self.disk_budget_gb}",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationConfig:
    """What is measured at every snapshot, and by which number the best one is known."""

    metrics: str = ""
    """Names separated by commas, such as fd_random5k_full or fid50k_full; empty = nothing is measured."""
    keep_best: str | None = None
    """The snapshot that is best by this number is never removed; null = by the first number measured."""
    data: str | None = None
    """Pictures to compare with; null = those of the run, held-out ones included."""
    weights: str = ""
    """Published weights as KEY=PATH, separated by commas, such as inception=pt_inception.pth."""
    reference: str | None = None
    """Snapshot whose discriminator is the ruler of metrics by discriminator."""
    batch: int = 16
    """Pictures painted at once; changes no number."""

    def __post_init__(self) -> None:
        check("evaluation", (self.batch >= 1, f"batch must be at least 1, got {self.batch}"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FormsConfig:
    """In which of several equal forms the networks compute: they differ in speed and rounding, in nothing else.

    auto: what was measured to be fastest on the device; docs/gpu.md has the measurements.
    """

    fir: FirForm = "auto"
    """Low-pass filter: a depthwise convolution, shifted maps added up (which a compiler fuses), or a Triton kernel."""
    up: UpForm = "auto"
    """Convolution that doubles the size: transposed, one to four phases, or that with the filter folded in."""
    epilogue: EpilogueForm = "auto"
    """Noise and bias: one matrix product, or additions one by one (which a compiler fuses)."""
    rgb: RgbForm = "auto"
    """From and to the channels of pictures: products of matrices, or weighted sums (which a compiler fuses)."""
    layout: Layout = "auto"
    """How feature maps lie in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """One training run, complete: the same configuration and data give the same networks."""

    preset: str = "auto"
    """The named configuration this one started from."""
    subject: SubjectName | None = None
    """What the pictures show: chooses transformations, mirroring, gamma and mapping depth; null = no choice."""
    data: DataConfig = field(default_factory=DataConfig)
    """The pictures."""
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """The generator."""
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    """The discriminator."""
    loss: LossConfig = field(default_factory=LossConfig)
    """The objective."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What happens to pictures before the discriminator sees them."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """Adam."""
    ema: EmaConfig = field(default_factory=EmaConfig)
    """The averaged generator."""
    saving: SavingConfig = field(default_factory=SavingConfig)
    """What is written, and how often."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What is measured at every snapshot."""
    total_kimg: float = 25000.0
    """Length of the run in thousands of images shown to the discriminator."""
    batch: int = 32
    """Pictures per iteration, over all processes."""
    batch_per_round: int | None = None
    """Pictures per process and round; smaller saves memory, gradients are averaged over rounds. null = one round."""
    seed: int = 0
    """Everything random follows from this."""
    precision: Precision = "auto"
    """fp32, bf16, fp16, or the fastest safe one of the machine."""
    compile: bool = False
    """Compile the four phases with torch.compile."""
    cuda_graphs: CudaGraphs = "auto"
    """Record the work of every phase on a GPU once and replay it; auto: where there is one GPU, and what cannot be
    recorded runs as it is; on: then the run ends."""
    forms: FormsConfig = field(default_factory=FormsConfig)
    """In which of several equal forms the networks compute."""

    def __post_init__(self) -> None:
        rounds = self.batch_per_round
        check(
            "run",
            (self.total_kimg >= 0, f"total_kimg must be at least 0, got {self.total_kimg}"),
            (0 <= self.seed <= MAX_SEED, f"seed must lie in 0..{MAX_SEED}, got {self.seed}"),
            (self.batch >= 1, f"batch must be at least 1, got {self.batch}"),
            (rounds is None or rounds >= 1, f"batch_per_round must be at least 1 or null, got {rounds}"),
            (
                rounds is None or rounds < 1 or self.batch % rounds == 0,
                f"batch {self.batch} must be a multiple of batch_per_round {rounds}",
            ),
            (self.generator.shape == self.discriminator.shape, "generator.shape and discriminator.shape must agree"),
            (self.generator.c_dim == self.discriminator.c_dim, "generator.c_dim and discriminator.c_dim must agree"),
        )
