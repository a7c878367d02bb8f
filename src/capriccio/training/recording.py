"""The work of a phase recorded once and replayed: a CUDA graph.

A phase is some thousand small kernels. Launched one by one they cost a processor more time than a fast GPU needs to run
them; a graph launches them all at once. It always works on the same memory, so inputs are copied into place before a
replay, and what comes out is read before the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from capriccio.config import CudaGraphs
from capriccio.errors import ConfigError
from capriccio.processes import Processes

Work = Callable[..., Any]
"""From nested tuples of tensors to nested tuples of tensors; leaves gradients in ``.grad`` of some parameters. Draws no
random number, waits for nothing, and always does the same operations on the same shapes."""

WARM_UP_CALLS = 2
"""Calls that run as they are: libraries choose their algorithms and take their workspace in these."""


class Runner(Protocol):
    """Runs the work of phases."""

    def __call__(self, key: Hashable, work: Work, inputs: tuple[Any, ...], parameters: Sequence[Tensor]) -> Any:
        """Return ``work(*inputs)``, and add its gradients to those of ``parameters``.

        Args:
            key: equal keys stand for the same work on inputs of the same shapes.
            work: what is to be done.
            inputs: nested tuples of tensors and None.
            parameters: those that ``work`` may leave gradients in.
        """
        ...


def run_directly(key: Hashable, work: Work, inputs: tuple[Any, ...], parameters: Sequence[Tensor]) -> Any:
    """Do the work, operation by operation."""
    return work(*inputs)


def is_recorded(asked: CudaGraphs, device: torch.device, processes: Processes) -> bool:
    """Return whether work is to be recorded: on a GPU that shares no gradients with others, unless told otherwise.

    Raises: ConfigError if it was asked for and cannot be.
    """
    possible = device.type == "cuda" and processes.world_size == 1
    if asked == "on" and not possible:
        raise ConfigError("--cuda_graphs on: needs a GPU, and a run of a single process; leave it at auto.")
    return possible and asked != "off"


class Recorder:
    """Replays work as CUDA graphs from the third time on."""

    def __init__(
        self,
        capture: Callable[[Callable[[], Any]], Captured] | None = None,
        *,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            capture: records a function without arguments; tests give one that needs no GPU.
            say: told about work that cannot be recorded, which is done directly from then on; None = that is an error.
        """
        self._capture = capture or _GraphCapture()
        self._say = say
        self._unrecordable: set[Hashable] = set()
        self._calls: dict[Hashable, int] = {}
        self._recordings: dict[Hashable, _Recording] = {}
        self._lent: set[int] = set()
        """Identities of the gradients that recordings leave: the next replay, of any recording, overwrites them."""

    def __call__(self, key: Hashable, work: Work, inputs: tuple[Any, ...], parameters: Sequence[Tensor]) -> Any:
        """Do the work, or replay it: see :class:`Runner`. What is returned is overwritten by the next replay."""
        if key in self._unrecordable:
            return work(*inputs)
        recording = self._recordings.get(key)
        if recording is None:
            self._calls[key] = self._calls.get(key, 0) + 1
            if self._calls[key] <= WARM_UP_CALLS:
                # Copies, as the recording will have: work that is compiled must not meet another kind of inputs later.
                return work(*_copies(inputs))
            try:
                recording = self._recordings[key] = self._record(work, inputs, parameters)
            except RuntimeError as error:
                if self._say is None or isinstance(error, torch.OutOfMemoryError):
                    raise
                self._unrecordable.add(key)
                self._say(
                    f"Warning: a phase cannot be recorded as a CUDA graph ({str(error).splitlines()[0]}); it runs "
                    "operation by operation, which is slower."
                )
                return work(*inputs)
            self._lent |= {id(gradient) for gradient in recording.gradients}
        for p in parameters:
            if p.grad is not None and id(p.grad) in self._lent:
                p.grad = p.grad.clone()
        return recording.replay(inputs, parameters)

    def forget(self) -> None:
        """Drop all recordings: networks were replaced, or other shapes come."""
        self._recordings.clear()
        self._calls.clear()
        self._lent.clear()
        self._unrecordable.clear()

    def _record(self, work: Work, inputs: tuple[Any, ...], parameters: Sequence[Tensor]) -> _Recording:
        places, structure = tree_flatten(_copies(inputs))
        gathered = [p.grad for p in parameters]
        for p in parameters:
            p.grad = None
        try:
            captured = self._capture(lambda: work(*tree_unflatten(places, structure)))
            gradients = [p.grad for p in parameters]
        finally:
            for p, gradient in zip(parameters, gathered, strict=True):
                p.grad = gradient
        return _Recording(captured, structure, [v for v in places if isinstance(v, Tensor)], gradients)


def _copies(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    copied: tuple[Any, ...] = tree_map_only(Tensor, torch.clone, inputs)
    return copied


@dataclass(frozen=True)
class Captured:
    """What a capture leaves."""

    replay: Callable[[], None]
    """Does the work again, on the same memory."""
    outputs: Any


@dataclass(frozen=True)
class _Recording:
    captured: Captured
    structure: TreeSpec
    places: list[Tensor]
    """Where the work finds its inputs."""
    gradients: list[Tensor | None]
    """Where it leaves the gradients of the parameters."""

    def replay(self, inputs: tuple[Any, ...], parameters: Sequence[Tensor]) -> Any:
        values, structure = tree_flatten(inputs)
        assert structure == self.structure, "a recording is replayed with inputs of the same kind"
        given = [v for v in values if isinstance(v, Tensor)]
        for place, value in zip(self.places, given, strict=True):
            assert place.shape == value.shape, "a recording is replayed with inputs of the same shapes"
        torch._foreach_copy_(self.places, given)
        self.captured.replay()
        for p, gradient in zip(parameters, self.gradients, strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad + gradient
        return self.captured.outputs


def choose_runner(
    asked: CudaGraphs, device: torch.device, processes: Processes, *, say: Callable[[str], None] | None = None
) -> Runner:
    """Return a recorder where work is to be recorded, else what does it directly; raises as :func:`is_recorded`.

    ``say`` is told about work that cannot be recorded after all, unless recording was asked for: then that is an error.
    """
    if not is_recorded(asked, device, processes):
        return run_directly
    return Recorder(say=say if asked == "auto" else None)


class _GraphCapture:
    """Captures CUDA graphs that share memory: they are replayed one after another, never at once."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, function: Callable[[], Any]) -> Captured:
        # Memory that the direct calls kept for later would not be used again.
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            outputs = function()
        self._pool = graph.pool()
        return Captured(graph.replay, outputs)
