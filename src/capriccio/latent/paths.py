"""Walks between latents: straight, on the sphere, and smooth paths through many of them for films."""

from __future__ import annotations

import torch
from torch import Tensor

from capriccio.errors import ShapeError


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return the points a + t·(b − a) of the straight line, the natural walk in W.

    Args:
        a: begin, any shape [...].
        b: end, shape of ``a``.
        t: positions, [T]; 0 = ``a``, 1 = ``b``.

    Returns: [T, ...].
    """
    _check_ends(a, b)
    t = t.to(a).reshape(-1, *[1] * a.ndim)
    return a + t * (b - a)


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Return points of the great circle from ``a`` to ``b``, the natural walk in Z, where length says little.

    Directions move at constant angular speed and lengths change linearly. Nearly parallel vectors are walked straight;
    opposite ones have no shortest way, so the walk goes through an arbitrary fixed perpendicular direction.

    Args:
        a: begin, [z_dim].
        b: end, [z_dim].
        t: positions, [T]; 0 = ``a``, 1 = ``b``.

    Returns: [T, z_dim].
    Source: Shoemake 1985; White 2016 (sampling generative networks).
    """
    _check_ends(a, b)
    if a.ndim != 1:
        raise ShapeError(f"slerp walks between two vectors [z_dim], got {list(a.shape)}.")
    t = t.to(a).reshape(-1, 1)
    length_a, length_b = a.norm(), b.norm()
    if min(length_a.item(), length_b.item()) == 0:
        return lerp(a, b, t.flatten())  # the origin has no direction
    unit_a, unit_b = a / length_a, b / length_b
    cosine = (unit_a @ unit_b).clamp(-1, 1)
    perpendicular = unit_b - cosine * unit_a
    if perpendicular.norm() < 1e-4:
        if cosine > 0:
            return lerp(a, b, t.flatten())
        perpendicular = _any_perpendicular(unit_a)
    perpendicular = perpendicular / perpendicular.norm()
    # atan2 keeps its precision where acos loses it, near 0 and π.
    angle = torch.atan2(unit_b @ perpendicular, cosine) if cosine > -1 + 1e-7 else torch.tensor(torch.pi).to(a)
    direction = torch.cos(t * angle) * unit_a + torch.sin(t * angle) * perpendicular
    points: Tensor = direction * (length_a + t * (length_b - length_a))
    return points


class SplinePath:
    """A path through key latents: the cubic spline, smooth to the second derivative.

    Time runs from 0 (first key) over 1, 2, … (the other keys). A closed path goes on to K, which is the first key
    again; position, velocity and acceleration are continuous at that seam, too, so that a film that ends one frame
    before time K loops without a jolt. An open one ends at K − 1, unbent at both ends (the natural spline).

    Args:
        keys: [K, ...] with K ≥ 1, usually [K, num_ws, w_dim]; one key is a path that rests, two closed ones swing back
            and forth.
        closed: whether it returns to the first key.

    Source: Ahlberg, Nilson, Walsh 1967 (The theory of splines and their applications), chapter 2.
    """

    def __init__(self, keys: Tensor, *, closed: bool = True) -> None:
        if keys.ndim < 1 or len(keys) < 1:
            raise ShapeError(f"A path needs keys [K, ...] with K at least 1, got {list(keys.shape)}.")
        self.keys = keys
        self.closed = closed or len(keys) == 1
        self.velocities = _spline_velocities(keys, closed=self.closed)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def duration(self) -> int:
        """Time at which the path ends."""
        return len(self.keys) if self.closed else len(self.keys) - 1

    def at(self, times: Tensor) -> Tensor:
        """Return the points at ``times`` [T]: [T, ...].

        Any real numbers, taken modulo K where the path is closed; where it is open it rests before 0 and after K − 1.
        """
        count = len(self.keys)
        times = torch.as_tensor(times, dtype=torch.float64)
        times = times.remainder(count) if self.closed else times.clamp(0, self.duration)
        before = times.floor().long().clamp(max=count - 1)
        after = (before + 1) % count
        t = (times - before).to(self.keys).reshape(-1, *[1] * (self.keys.ndim - 1))
        p0, p1, v0, v1 = self.keys[before], self.keys[after], self.velocities[before], self.velocities[after]
        # Hermite form of the segment, arranged as an offset from p0 so that t = 0 gives the key exactly.
        return p0 + t * (v0 + t * (3 * (p1 - p0) - 2 * v0 - v1 + t * (2 * (p0 - p1) + v0 + v1)))

    def frame_times(self, num_frames: int) -> Tensor:
        """Return the times of ``num_frames`` evenly spaced frames, float64.

        Of a closed path one round, whose first frame is not repeated; of an open one from its first key to its last.
        """
        if self.closed:
            return torch.arange(num_frames, dtype=torch.float64) * (self.duration / num_frames)
        return torch.linspace(0, self.duration, num_frames, dtype=torch.float64)


def _spline_velocities(keys: Tensor, *, closed: bool) -> Tensor:
    """Solve v[i−1] + 4 v[i] + v[i+1] = 3 (p[i+1] − p[i−1]) in float64, indices modulo K.

    Of an open path the first and last lines are 2 v[0] + v[1] = 3 (p[1] − p[0]) and alike: no bend at the ends.
    """
    flat = keys.reshape(len(keys), -1).double()
    eye = torch.eye(len(keys), dtype=torch.float64, device=keys.device)
    system = 4 * eye + eye.roll(1, 0) + eye.roll(-1, 0)
    wanted = 3 * (flat.roll(-1, 0) - flat.roll(1, 0))
    if not closed:
        for end, neighbour in ((0, 1), (-1, -2)):
            system[end] = 2 * eye[end] + eye[neighbour]
        wanted[0], wanted[-1] = 3 * (flat[1] - flat[0]), 3 * (flat[-1] - flat[-2])
    velocities: Tensor = torch.linalg.solve(system, wanted)
    return velocities.reshape(keys.shape).to(keys)


def _any_perpendicular(unit: Tensor) -> Tensor:
    axis = torch.zeros_like(unit)
    axis[unit.abs().argmin()] = 1  # the axis it leans on least
    return axis - (axis @ unit) * unit


def _check_ends(a: Tensor, b: Tensor) -> None:
    if a.shape != b.shape:
        raise ShapeError(f"A walk needs two ends of one shape, got {list(a.shape)} and {list(b.shape)}.")
