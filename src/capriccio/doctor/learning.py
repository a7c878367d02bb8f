"""Rules about learning: losses that explode or vanish, numbers that are not finite, a discriminator that overfits."""

from __future__ import annotations

import math

from capriccio.doctor.finding import Finding
from capriccio.doctor.record import RunRecord, Span

REAL_SIGNS = "Loss/signs/real"
"""r_t: mean sign of the discriminator's logits on training pictures."""

HELDOUT_OVERFITTING = "Progress/r_v"
"""r_v: where logits on held-out pictures lie between those on training pictures (0) and on fakes (1)."""

YOUNG_NIMG = 4000
"""Before this many images losses only show how the networks were begun."""

_LOSSES = ("Loss/G/loss", "Loss/D/loss", "Loss/scores/real", "Loss/scores/fake", "Loss/pl_penalty", "Loss/r1_penalty")
_SCORES = ("Loss/scores/real", "Loss/scores/fake")
_LARGE_SCORE = 50.0
_CHANCE = 2 * math.log(2)
"""Loss of a discriminator that says 0 to everything."""

_OVERFIT_R_T = 0.75
_GRAVE_R_T = 0.9
_OVERFIT_R_V = 0.5
_GRAVE_R_V = 0.75
_FIRST_EPOCHS = 5.0
"""While pictures are new, a discriminator that is sure of them has not learnt them by heart."""


def has_learnt(record: RunRecord) -> bool:
    """Whether losses show more than how the networks were begun."""
    return record.recent() is not None and record.nimg >= YOUNG_NIMG


def can_overfit(record: RunRecord) -> bool:
    """Whether pictures were shown often enough to be learnt by heart, and logits say whether they were."""
    recent = record.recent()
    if recent is None or not has_learnt(record) or (record.epochs is not None and record.epochs < _FIRST_EPOCHS):
        return False
    return any(recent.mean(name) is not None for name in (REAL_SIGNS, HELDOUT_OVERFITTING))


def exploding_losses(record: RunRecord) -> Finding | None:
    """Losses or logits that are not finite, or beyond any that training needs."""
    recent = record.recent()
    if recent is None:
        return None
    slower = (
        f"Go back to an earlier snapshot with --init-from, raise --gamma (now {record.config.loss.r1_gamma:g}) twofold "
        f"or halve --optimizer.generator_lr and --optimizer.discriminator_lr (now "
        f"{record.config.optimizer.generator_lr:g} and {record.config.optimizer.discriminator_lr:g})."
    )
    broken = [name for name in _LOSSES if any(math.isnan(value) for value in recent.values(name))]
    if broken:
        return Finding(
            severity="serious",
            what="Losses explode.",
            evidence=f"Not finite {recent}: {', '.join(broken)}.",
            advice=f"Try --precision fp32. {slower}",
        )
    largest = {name: max(map(abs, values)) for name in _SCORES if (values := recent.values(name))}
    name = max(largest, key=lambda key: largest[key], default=None)
    if name is None or largest[name] < _LARGE_SCORE or not has_learnt(record):
        return None
    return Finding(
        severity="warning" if largest[name] < 2 * _LARGE_SCORE else "serious",
        what="Losses explode.",
        evidence=f"{name} reaches {largest[name]:.0f} {recent}; usual are values up to about 5.",
        advice=slower,
    )


def vanishing_losses(record: RunRecord) -> Finding | None:
    """One network beats the other for good, so that nothing is left to learn from."""
    recent = record.recent()
    if recent is None or not has_learnt(record):
        return None
    d_loss, g_loss = recent.mean("Loss/D/loss"), recent.mean("Loss/G/loss")
    real, fake = (recent.mean(name) for name in _SCORES)
    if d_loss is not None and g_loss is not None and d_loss < 0.1 and g_loss > 4:
        return Finding(
            severity="warning" if d_loss > 0.02 else "serious",
            what="The discriminator wins everything, and the generator has little to learn from.",
            evidence=f"Its loss is {d_loss:.3f} on average and the generator's {g_loss:.1f} {recent}.",
            advice=f"Raise --gamma (now {record.config.loss.r1_gamma:g}) two- to fourfold, or lower "
            f"--optimizer.discriminator_lr (now {record.config.optimizer.discriminator_lr:g}).",
        )
    if real is None or fake is None or d_loss is None:
        return None
    if abs(real - fake) < 0.02 and abs(d_loss - _CHANCE) < 0.02:
        return Finding(
            severity="serious",
            what="The discriminator says the same to every picture, and neither network learns.",
            evidence=f"Real pictures score {real:+.3f}, fakes {fake:+.3f}, its loss is {d_loss:.3f} {recent}; "
            f"guessing costs {_CHANCE:.3f}.",
            advice=f"Lower --gamma (now {record.config.loss.r1_gamma:g}) four- to tenfold; look at samples/reals.png "
            "whether the pictures are what they should be.",
        )
    return None


def precision_trouble(record: RunRecord) -> Finding | None:
    """Gradients or losses that were not finite and had to be replaced or skipped."""
    recent = record.recent() or (Span(record.ticks) if record.ticks else None)
    if recent is None:
        return None
    skipped, replaced = recent.total("Numerics/skipped_steps"), recent.total("Numerics/sanitized_gradients")
    if not skipped and not replaced:
        return None
    always = all(value > 0 for value in recent.values("Numerics/skipped_steps"))
    precision = record.sessions[-1].get("precision") if record.sessions else None
    if precision == "fp32":
        advice = (
            "The run computes in fp32 already, so the numbers themselves grow too large: raise --gamma (now "
            f"{record.config.loss.r1_gamma:g}) or halve the learning rates."
        )
    else:
        advice = "Go on with --resume --precision fp32; if it stays, halve the learning rates."
    phases = {phase: recent.total(f"Numerics/skipped_steps/{phase}") for phase in ("Gmain", "Greg", "Dmain", "Dreg")}
    told = " and ".join(phase for phase, count in phases.items() if count)
    return Finding(
        severity="serious" if always else "warning",
        what="The precision does not suffice.",
        evidence=f"{skipped:,.0f} steps{f' of {told}' if told else ''} skipped because a loss was not finite, "
        f"{replaced:,.0f} gradient values "
        f"replaced {recent}" + (f", in {precision}." if precision else "."),
        advice=advice,
    )


def discriminator_overfitting(record: RunRecord) -> Finding | None:
    """The discriminator knows its training pictures by heart: r_t near 1, or r_v towards 1."""
    recent = record.recent()
    if recent is None or not can_overfit(record):
        return None
    r_t, r_v = recent.mean(REAL_SIGNS), recent.mean(HELDOUT_OVERFITTING)
    signs = []
    if r_v is not None and r_v >= _OVERFIT_R_V:
        signs.append(f"held-out pictures score {r_v:.0%} of the way from training pictures to fakes (r_v {r_v:.2f})")
    if r_t is not None and r_t >= _OVERFIT_R_T:
        signs.append(f"it takes {(1 + r_t) / 2:.0%} of the training pictures for real (r_t {r_t:.2f})")
    # A discriminator that judges held-out pictures like the others may be as sure of all as it likes.
    if not signs or (r_v is not None and r_v < _OVERFIT_R_V / 2):
        return None
    grave = (r_v or 0) >= _GRAVE_R_V or (r_t or 0) >= _GRAVE_R_T
    pictures = "" if record.num_pictures is None else f" of {record.num_pictures:,} pictures"
    epochs = "" if record.epochs is None else f", after {record.epochs:.1f} epochs{pictures}"
    return Finding(
        severity="serious" if grave else "warning",
        what="The discriminator overfits: it learns the training pictures by heart.",
        evidence=f"{_sentence(' and '.join(signs))} {recent}{epochs}.",
        advice=_against_overfitting(record),
    )


def _against_overfitting(record: RunRecord) -> str:
    steps = []
    if record.config.augment.mode == "none":
        steps.append("train with --augment ada")
    if not record.config.data.mirror:
        steps.append("double the pictures with --mirror where left and right do not matter")
    steps.append(f"raise --gamma (now {record.config.loss.r1_gamma:g}) two- to fourfold")
    if not record.starts_from_other_network:
        steps.append("start from a trained network with --init-from")
    return "More pictures help most. Else " + "; or ".join(steps) + ". Earlier snapshots may be the better ones."


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]
