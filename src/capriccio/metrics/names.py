"""Names of metrics: what, by which network, how many samples, against what.

    fid50k_full        Fréchet distance by Inception, 50,000 samples against all pictures, none mirrored
    fid5k              5,000 samples against the first 5,000 pictures, mirrored ones included where --mirror says so
    kid50k_full        kernel distance, with the deviation over subsets
    pr50k3_full        precision and recall by VGG-16, k = 3
    dc50k5_full        density and coverage by VGG-16, k = 5
    is50k              Inception score
    ppl2_wend          perceptual path length in W at path ends, no crop, 50,000 pairs; ppl_{z,w}{full,end} crop
    fd_squeeze5k_full  Fréchet distance by another network; likewise kd_, pr_, dc_ with squeeze, discriminator, random …
    ppl2_wend_squeeze_2k   path length by another distance, 2,000 pairs

Counts are thousands with a k (the number behind that k is the metric's own, as in the field's pr50k3), else units, as
in ``pr_squeeze500_k3``. Where a name states no count (``fid_full``, ``ppl2_wend_squeeze``), the default is put in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from capriccio.errors import UsageError
from capriccio.perception.catalogue import DistanceName, NetworkName
from capriccio.wording import nearest

SetKind = Literal["fd", "kd", "pr", "dc", "is"]

DEFAULT_COUNT = 50_000
"""Samples, or pairs of a path length, where a name states none."""

_DEFAULT_NEIGHBOURS = {"pr": 3, "dc": 5}
_IMPLIED = {"fid": ("fd", "inception"), "kid": ("kd", "inception"), "is": ("is", "inception"),
            "pr": ("pr", "vgg"), "dc": ("dc", "vgg")}  # fmt: skip
_SET_NAME = re.compile(r"(fid|kid|is|pr|dc|fd|kd)(?:_(?!full)([a-z]+))?(?:(\d+)(k?))?(?:(?<=k)(\d+)|_k(\d+))?(_full)?")
_PATH_NAME = re.compile(r"(ppl2?)_([zw])(full|end)(?:_([a-z]+))?(?:_(\d+)(k?))?")
EXAMPLES = (
    "fid50k_full", "kid50k_full", "pr50k3_full", "dc50k5_full", "is50k", "ppl2_wend", "fd_squeeze5k_full",
    "kd_squeeze5k_full", "pr_squeeze5k3_full", "fd_discriminator5k_full", "fd_random5k_full", "ppl2_wend_squeeze_2k",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMetric:
    """A metric of a set of samples, most of them against a set of real pictures."""

    kind: SetKind
    """Fréchet distance, kernel distance, precision and recall, density and coverage, Inception score."""
    network: NetworkName
    """Whose features are compared."""
    count: int
    """Samples."""
    full: bool
    """Against all real pictures, none mirrored; else against the first ``count`` items of the data set."""
    neighbours: int = 0
    """k, of the metrics that have one."""

    @property
    def name(self) -> str:
        """The name as it is reported, every number stated."""
        word = next((w for w, implied in _IMPLIED.items() if implied == (self.kind, self.network)), None)
        word = word or f"{self.kind}_{self.network}"
        neighbours = "" if not self.neighbours else f"{'' if self.count % 1000 == 0 else '_k'}{self.neighbours}"
        return f"{word}{_short(self.count)}{neighbours}{'_full' if self.full else ''}"

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers it gives."""
        name = self.name
        match self.kind:
            case "fd":
                return (name,)
            case "kd":
                return name, f"{name}_std"
            case "pr":
                return f"{name}_precision", f"{name}_recall"
            case "dc":
                return f"{name}_density", f"{name}_coverage"
            case "is":
                return f"{name}_mean", f"{name}_std"

    @property
    def needs_reals(self) -> bool:
        """Whether samples are held against real pictures."""
        return self.kind != "is"

    @property
    def needs_features(self) -> bool:
        """Whether single features are needed beyond mean and covariance."""
        return self.kind in ("kd", "pr", "dc")

    @property
    def fewest(self) -> int:
        """Samples and real pictures without which the number means nothing."""
        return {"fd": 2, "kd": 2, "is": 10}.get(self.kind, self.neighbours + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PathMetric:
    """A perceptual path length: how much pictures change per step in latent space."""

    space: Literal["z", "w"]
    """Where the path lies."""
    sampling: Literal["full", "end"]
    """Positions uniform along the path, or its beginning."""
    crop: bool
    """Whether only the middle of pictures counts, where a face would be."""
    distance: DistanceName
    """The perceptual distance."""
    count: int
    """Pairs of pictures."""

    @property
    def name(self) -> str:
        """The name as it is reported; that of the field where everything is as the field does it."""
        parts = [f"ppl{'' if self.crop else '2'}_{self.space}{self.sampling}"]
        if self.distance != "vgg":
            parts.append(self.distance)
        if self.count != DEFAULT_COUNT:
            parts.append(_short(self.count))
        return "_".join(parts)

    @property
    def numbers(self) -> tuple[str, ...]:
        """Names of the numbers it gives."""
        return (self.name,)


Metric = SetMetric | PathMetric


def higher_is_better(number: str) -> bool:
    """Whether a larger value of a number (see ``numbers``) is the better one; distances and path lengths are not so."""
    return number.endswith(("_precision", "_recall", "_density", "_coverage", "_mean"))


def parse_metrics(text: str | Sequence[str], *, count: int | None = None) -> tuple[Metric, ...]:
    """Read names of metrics.

    Args:
        text: names separated by commas, or a list of them.
        count: samples for names that state none; None = 50,000.

    Raises: UsageError for a name that is not known, naming the nearest.
    """
    names = text.split(",") if isinstance(text, str) else list(text)
    if count is not None and count < 1:
        raise UsageError(f"--count must be at least 1, got {count}.")
    metrics = [parse_metric(name.strip(), count=count) for name in names if name.strip()]
    if not metrics:
        raise UsageError(f"--metrics names no metric; for example {', '.join(EXAMPLES[:3])}.")
    return tuple(dict.fromkeys(metrics))


def parse_metric(name: str, *, count: int | None = None) -> Metric:
    """Read one name; see :func:`parse_metrics`.

    Raises: UsageError for a name that is not known, naming the nearest, or one that asks for no samples.
    """
    metric = _path_metric(name, count) or _set_metric(name, count)
    if metric is None:
        raise UsageError(f"'{name}' is not a metric.{nearest(name, EXAMPLES)} There are names such as "
                         f"{', '.join(EXAMPLES)}.")  # fmt: skip
    if metric.count < 1:
        raise UsageError(f"'{name}' asks for no samples at all.")
    return metric


def _set_metric(name: str, count: int | None) -> SetMetric | None:
    found = _SET_NAME.fullmatch(name)
    if found is None:
        return None
    word, network, number, k, neighbours, spelt_neighbours, full = found.groups()
    neighbours = neighbours or spelt_neighbours
    kind, implied = _IMPLIED.get(word, (word, None))
    network = network or implied
    if network is None:
        raise UsageError(f"'{name}': say by which network, such as {word}_squeeze5k_full; "
                         f"there are {', '.join(get_args(NetworkName))}.")  # fmt: skip
    if network not in get_args(NetworkName):
        raise UsageError(f"'{name}': '{network}' is not a network.{nearest(network, get_args(NetworkName))} "
                         f"There are {', '.join(get_args(NetworkName))}.")  # fmt: skip
    if word in ("fid", "kid", "is") and network != "inception":
        raise UsageError(f"'{name}': {word} is defined by the Inception network alone; "
                         f"{_instead(word, network)}.")  # fmt: skip
    if neighbours and kind not in _DEFAULT_NEIGHBOURS:
        raise UsageError(f"'{name}': '{neighbours}' behind the count has no meaning here.")
    return SetMetric(
        kind=kind,  # type: ignore[arg-type]
        network=network,  # type: ignore[arg-type]
        count=_count(number, k, count),
        full=full is not None and kind != "is",
        neighbours=int(neighbours) if neighbours else _DEFAULT_NEIGHBOURS.get(kind, 0),
    )


def _path_metric(name: str, count: int | None) -> PathMetric | None:
    found = _PATH_NAME.fullmatch(name)
    if found is None:
        return None
    word, space, sampling, distance, number, k = found.groups()
    distance = distance or "vgg"
    if distance not in get_args(DistanceName):
        raise UsageError(f"'{name}': '{distance}' is not a distance.{nearest(distance, get_args(DistanceName))} "
                         f"There are {', '.join(get_args(DistanceName))}.")  # fmt: skip
    return PathMetric(
        space=space,  # type: ignore[arg-type]
        sampling=sampling,  # type: ignore[arg-type]
        crop=word == "ppl",
        distance=distance,  # type: ignore[arg-type]
        count=_count(number, k, count),
    )


def _instead(word: str, network: str) -> str:
    return f"by another one it is called {word[0]}d_{network}" if word != "is" else "there is no other form of it"


def _count(number: str | None, k: str | None, default: int | None) -> int:
    if number is None:
        return DEFAULT_COUNT if default is None else default
    return int(number) * (1000 if k else 1)


def _short(count: int) -> str:
    return f"{count // 1000}k" if count % 1000 == 0 else str(count)
