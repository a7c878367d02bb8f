"""ONNX: the file format of networks that the runtimes of other languages, phones and browsers read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from capriccio.durable import check_writable, replacing
from capriccio.interop.export import (
    CHECKED,
    METADATA_KEY,
    TOLERANCE,
    ExportNoise,
    ExportReport,
    PortableGenerator,
    export_facts,
    largest_difference,
    need_packages,
    quiet_exporters,
    trace,
)
from capriccio.snapshots.snapshot import Snapshot

OPSET = 20
"""Version of the operators: old enough for runtimes of 2024."""

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What the extra ``export`` installs."""


def export_onnx(
    snapshot: Snapshot,
    path: Path,
    *,
    noise: ExportNoise = "const",
    cutoff: int | None = None,
    tolerance: float = TOLERANCE,
) -> ExportReport:
    """Write an ONNX file, self-contained, float32, with a free batch size.

    Raises: UsageError if the extra ``export`` is not installed; ConfigError for what does not fit the network;
        JobError if the file in onnxruntime paints other pictures; StorageError if ``path`` cannot be written.
    """
    need_packages("export", *PACKAGES)
    check_writable(path)
    portable = PortableGenerator(snapshot.generator, noise=noise, cutoff=cutoff)
    data = onnx_bytes(portable, export_facts(snapshot, portable))
    difference, runtime = compare_in_onnxruntime(portable, data, tolerance)
    with replacing(path) as file:
        file.write(data)
    return ExportReport(
        files=(path,),
        format="onnx",
        inputs=portable.input_shapes(),
        checked_batches=tuple(count for count, _ in CHECKED),
        largest_difference=difference,
        tolerance=tolerance,
        runtime=runtime,
    )


def onnx_bytes(portable: PortableGenerator, facts: str) -> bytes:
    """Return ``portable`` as an ONNX file that carries ``facts`` among its properties."""
    with quiet_exporters(), torch.no_grad():
        program = torch.onnx.export(
            trace(portable),
            dynamo=True,
            verbose=False,
            optimize=True,
            opset_version=OPSET,
            input_names=list(portable.input_shapes()),
            output_names=["images"],
        )
    assert program is not None
    program.model.metadata_props[METADATA_KEY] = facts
    data: bytes = program.model_proto.SerializeToString(deterministic=True)
    return data


def compare_in_onnxruntime(portable: PortableGenerator, data: bytes, tolerance: float) -> tuple[float, str]:
    """Return the largest difference of the file's pictures to PyTorch's, and the runtime's name and version.

    Raises: JobError if a difference is above ``tolerance``.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, Tensor]) -> Tensor:
        (images,) = session.run(["images"], {name: value.numpy() for name, value in inputs.items()})
        return torch.from_numpy(images)

    difference = largest_difference(portable, run, tolerance=tolerance, what="ONNX")
    return difference, f"onnxruntime {onnxruntime.__version__}"
