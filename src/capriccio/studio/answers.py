"""What the API answers as JSON, typed, so that its document says so and programs can be written against it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Severity = Literal["note", "warning", "serious"]


class DirectionFacts(BaseModel):
    """An editing direction."""

    name: str
    about: str
    unit: str = Field(description="What strength 1 is a step of.")
    rows: list[int] = Field(description="Latent rows it is meant for.")


class ModelFacts(BaseModel):
    """What paints here."""

    name: str
    hash: str
    height: int
    width: int
    channels: int
    classes: int = Field(description="Number of classes; 0 = unconditional.")
    class_names: list[str] = Field(description="What they are called, by their numbers; empty = nothing.")
    rows: int = Field(description="Latent rows.")
    levels: list[int] = Field(description="Level, in pixels, that each row styles.")
    named_rows: dict[str, list[int]] = Field(description="Rows of coarse, middle and fine.")
    psi: float = Field(description="Truncation of pictures that ask for none.")
    licence: str
    kimg: float = Field(description="Thousands of images it was trained with.")
    data: dict[str, Any] = Field(description="Card of the pictures it learnt from.")
    digital_source_type: str = Field(description="IPTC DigitalSourceType of its pictures.")
    version: str = Field(description="Of the program.")
    max_scale: int = Field(description="Largest factor of enlargement.")
    directions: list[DirectionFacts]
    max_strength: float
    detects: bool = Field(description="Whether it carries a calibration, so that verdicts can be given.")
    shows_runs: bool


class JobState(BaseModel):
    """Where a film, a projection or a detection stands."""

    id: str
    kind: Literal["walk", "projection", "detection"]
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    progress: dict[str, Any] = Field(description="Steps done and total, and what can be shown meanwhile.")
    error: str | None = Field(None, description="Why it failed.")
    outcome: dict[str, Any] | None = Field(None, description="What came out, once it is done.")
    has_file: bool = Field(False, description="Whether /file has something.")


class LatentFacts(BaseModel):
    """A latent that is kept here."""

    id: str
    name: str
    foreign: bool = Field(False, description="Whether it says that it was made with another network.")


class LatentList(BaseModel):
    """Latents that are kept here."""

    latents: list[LatentFacts]


class RunCard(BaseModel):
    """A training run at a glance."""

    name: str
    changed: float = Field(description="When it last wrote, in seconds since 1970.")
    going: bool = Field(description="Whether it wrote lately and has not reached its aim.")
    kimg: float | None = Field(description="Thousands of images shown.")
    total_kimg: float | None = Field(description="Aim of the run.")
    last_sample: str | None
    last_kimg: float | None


class RunList(BaseModel):
    """The runs."""

    runs: list[RunCard]


class CurveFacts(BaseModel):
    """One curve."""

    name: str
    points: list[tuple[float, float]] = Field(description="(kimg, value).")


class PlotFacts(BaseModel):
    """Curves that share a drawing."""

    title: str
    curves: list[CurveFacts]


class SampleFacts(BaseModel):
    """A sheet of samples."""

    file: str
    kimg: float


class FindingFacts(BaseModel):
    """What the doctor found."""

    name: str
    severity: Severity
    what: str
    evidence: str
    advice: str


class RunDetail(RunCard):
    """A training run."""

    best: str | None = Field(description="The best snapshot until now and by which number, in words.")
    plots: list[PlotFacts]
    samples: list[SampleFacts]
    findings: list[FindingFacts]
