"""The discriminator: images to logits, in resnet, skip and orig form.

Source: StyleGAN2, section 4.1 and figure 7; projection conditioning after Miyato and Koyama 2018.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from capriccio.config import DiscriminatorConfig, FormsConfig
from capriccio.networks.forms import Formed, set_forms
from capriccio.networks.layers import SQRT_HALF, EqualizedConv2d, EqualizedLinear, MinibatchStdDev
from capriccio.networks.mapping import MappingNetwork
from capriccio.networks.precision import low_precision_levels
from capriccio.ops.layout import memory_format
from capriccio.ops.resample import downsample2d, make_filter


class DiscriminatorBlock(Formed):
    """The layers of one level: fromRGB where there is one, two convolutions, ÷2 down."""

    filter: Tensor

    def __init__(self, config: DiscriminatorConfig, level: int) -> None:
        super().__init__()
        self.level = level
        self.architecture = config.architecture
        channels, below = config.channels_at(level), config.channels_at(level // 2)
        has_rgb = level == config.shape.levels[-1] or config.architecture == "skip"
        clamp, taps = config.conv_clamp, config.resample_filter
        self.from_rgb = (
            EqualizedConv2d(config.shape.channels, channels, 1, activation="lrelu", conv_clamp=clamp)
            if has_rgb
            else None
        )
        self.conv0 = EqualizedConv2d(channels, channels, 3, activation="lrelu", conv_clamp=clamp)
        self.conv1 = EqualizedConv2d(
            channels, below, 3, activation="lrelu", conv_clamp=clamp, resampling="down", resample_filter=taps
        )
        self.skip = (
            EqualizedConv2d(channels, below, 1, bias=False, resampling="down", resample_filter=taps)
            if config.architecture == "resnet"
            else None
        )
        self.register_buffer("filter", make_filter(taps), persistent=False)

    def layers(self) -> Iterator[EqualizedConv2d]:
        """The layers in the order in which Freeze-D counts them."""
        yield from (layer for layer in (self.from_rgb, self.conv0, self.conv1, self.skip) if layer is not None)

    def forward(self, x: Tensor | None, image: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Return features [N, C', h/2, w/2] and the image the next block looks at.

        Args:
            x: features of the level above [N, C, h, w]; None in the first block.
            image: [N, img_channels, h, w].
            dtype: the precision this block computes in.
        """
        if self.from_rgb is not None:
            image = image.to(dtype)
            seen = self.from_rgb(image)
            x = seen if x is None else x.to(dtype) + seen
            if self.architecture == "skip":
                image = downsample2d(image, self.filter, form=self.forms.fir)
        assert x is not None
        x = x.to(dtype)
        if self.skip is None:
            x = self.conv1(self.conv0(x))
        else:
            short = self.skip(x, gain=SQRT_HALF)
            x = short.add_(self.conv1(self.conv0(x), gain=SQRT_HALF))  # fresh, and no derivative needs it
        return x, image


class DiscriminatorEpilogue(nn.Module):
    """The end, at level 4: minibatch standard deviation, a convolution, two dense layers; always float32."""

    def __init__(self, config: DiscriminatorConfig, out_features: int) -> None:
        super().__init__()
        channels = config.channels_at(4)
        h0, w0 = config.shape.start_grid
        self.from_rgb = (
            EqualizedConv2d(config.shape.channels, channels, 1, activation="lrelu")
            if config.architecture == "skip"
            else None
        )
        extra = config.mbstd_num_channels
        self.mbstd = MinibatchStdDev(config.mbstd_group_size, extra) if extra else None
        self.conv = EqualizedConv2d(channels + extra, channels, 3, activation="lrelu", conv_clamp=config.conv_clamp)
        self.fc = EqualizedLinear(channels * h0 * w0, channels, activation="lrelu")
        self.out = EqualizedLinear(channels, out_features)

    def forward(self, x: Tensor, image: Tensor, num_sets: int) -> Tensor:
        """[N, C, h0, w0] → [N, out_features]."""
        x = x.float()
        if self.from_rgb is not None:
            x = x + self.from_rgb(image.float())
        if self.mbstd is not None:
            x = self.mbstd(x, num_sets)
        x = self.conv(x)
        logits: Tensor = self.out(self.fc(x.flatten(1)))
        return logits


class Discriminator(Formed):
    """images [N, C, H, W], c [N, c_dim] → logits [N, 1]."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        levels = [level for level in reversed(config.shape.levels) if level >= 8]
        self.blocks = nn.ModuleDict({str(level): DiscriminatorBlock(config, level) for level in levels})
        self.answers_by_class = config.c_dim > 0 and config.mapping.labels == "joined"
        cmap_dim = config.channels_at(4) if config.cmap_dim is None else config.cmap_dim
        answers = config.c_dim if self.answers_by_class else cmap_dim
        self.epilogue = DiscriminatorEpilogue(config, answers if config.c_dim else 1)
        self.mapping = (
            MappingNetwork(config.mapping, z_dim=0, c_dim=config.c_dim, w_dim=cmap_dim, has_w_avg=False)
            if config.c_dim and not self.answers_by_class
            else None
        )
        self.low_precision: torch.dtype | None = None

    def set_precision(self, dtype: torch.dtype | None) -> None:
        """Run the highest ``config.num_fp16_res`` levels in ``dtype``; None = everything in float32."""
        self.low_precision = dtype

    def set_forms(self, forms: FormsConfig) -> None:
        """Compute in these of several equal forms; results differ in rounding only."""
        set_forms(self, forms)

    def forward(self, images: Tensor, c: Tensor | None = None, *, num_sets: int = 1) -> Tensor:
        """Return logits [N, 1], float32; not probabilities.

        Args:
            images: [N, C, H, W], about −1…1.
            c: labels [N, c_dim]; None when unconditional.
            num_sets: the batch consists of this many equal parts (fakes, reals) whose minibatch statistics are apart.
        """
        x, image = self._trunk(images)[-1]
        out: Tensor = self.epilogue(x, image, num_sets)
        if self.answers_by_class:
            assert c is not None, "a conditional network needs labels"
            return (out * c.float()).sum(dim=1, keepdim=True)
        if self.mapping is None:
            return out
        cmap = self.mapping(None, c)
        logits: Tensor = (out * cmap).sum(dim=1, keepdim=True) / cmap.shape[1] ** 0.5
        return logits

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the features after every block, from fine to coarse: [N, C, h, w] each."""
        return [x for x, _ in self._trunk(images)]

    def freeze(self) -> list[str]:
        """Stop learning in the first ``config.freeze_layers`` layers; return the names of the frozen parameters.

        Source: Mo, Cho, Shin 2020 (Freeze the Discriminator).
        """
        layers = [layer for block in self._blocks() for layer in block.layers()][: self.config.freeze_layers]
        for layer in layers:
            layer.requires_grad_(False)
        return [name for name, p in self.named_parameters() if not p.requires_grad]

    def _blocks(self) -> list[DiscriminatorBlock]:
        return [block for block in self.blocks.values() if isinstance(block, DiscriminatorBlock)]

    def _trunk(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        low = low_precision_levels(self.config.shape.levels, self.config.num_fp16_res) if self.low_precision else ()
        x: Tensor | None = None
        image = images.contiguous(memory_format=memory_format(self.forms))
        outputs = []
        for block in self._blocks():
            dtype = self.low_precision if self.low_precision and block.level in low else torch.float32
            x, image = block(x, image, dtype)
            outputs.append((x, image))
        return outputs
