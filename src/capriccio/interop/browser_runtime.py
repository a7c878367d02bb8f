"""The runtime of ONNX files for browsers, ``onnxruntime-web``: fetched once with npm, checked, kept.

npm knows the registry, mirror and proxy of its user, so no address stands here; what came is accepted by its checksum
alone, wherever it came from.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from capriccio.durable import replacing
from capriccio.errors import JobError, StorageError, UsageError

NAME, VERSION = "onnxruntime-web", "1.30.0"
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Checksum of the package as it is published, in the form of the registry."""

MEMBERS = {
    "package/dist/ort.wasm.bundle.min.mjs": "onnxruntime-web.js",
    "package/dist/ort-wasm-simd-threaded.wasm": "onnxruntime-web.wasm",
}
"""Files of the package and their names beside the page. Not .mjs: some servers call that no script."""

LICENCE = """\
onnxruntime-web 1.30.0 (onnxruntime-web.js, onnxruntime-web.wasm)

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""

_TARBALL = f"{NAME}-{VERSION}.tgz"
_BY_HAND = f"where there is a network and npm: 'npm pack {NAME}@{VERSION}', then --runtime {_TARBALL}"
_TIMEOUT_S = 600


def browser_runtime(cache: Path, tarball: Path | None = None) -> dict[str, bytes]:
    """Return the runtime's files by the names they have beside the page.

    Args:
        cache: folder where the package is kept between exports.
        tarball: the package itself; None = the one in ``cache``, fetched with npm when it is not there.

    Raises: UsageError if there is no such file, its checksum is another, or npm is not installed; JobError if npm could
        not fetch it, with what to do.
    """
    if tarball is None:
        tarball = cache / _TARBALL
        if not tarball.is_file() or not _is_published(tarball):
            _fetch(tarball)
    elif not tarball.is_file():
        raise UsageError(f"--runtime: there is no file '{tarball}'.")
    if not _is_published(tarball):
        raise UsageError(f"'{tarball}' is not {NAME} {VERSION} as published ({INTEGRITY[:24]}…); {_BY_HAND}.")
    with tarfile.open(tarball) as package:
        return {beside: _member(package, name) for name, beside in MEMBERS.items()}


def _fetch(target: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UsageError(f"the page needs {NAME}, and npm, which fetches it, is not installed; {_BY_HAND}.")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{NAME}@{VERSION}", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, cwd=folder, check=False)
        except subprocess.TimeoutExpired as error:
            raise JobError(f"{NAME} did not come within {_TIMEOUT_S} s; {_BY_HAND}.") from error
        fetched = Path(folder) / _TARBALL
        if done.returncode or not fetched.is_file():
            raise JobError(f"{NAME} could not be fetched, is this machine offline? npm says: {_reason(done.stderr)}. "
                           f"Then {_BY_HAND}.")  # fmt: skip
        try:
            with replacing(target) as file:
                file.write(fetched.read_bytes())
        except StorageError as error:
            raise StorageError(f"{error} (the cache of downloads; CAPRICCIO_CACHE names another)") from error


def _reason(told: str) -> str:
    errors = [line.split("npm error", 1)[1].strip() for line in told.splitlines() if line.startswith("npm error")]
    told_why = [line for line in errors if line and not line.startswith(("code ", "A complete log"))]
    return (told_why or errors or ["nothing"])[0].rstrip(".")


def _is_published(path: Path) -> bool:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}" == INTEGRITY


def _member(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    assert member is not None, "the checksum fixes what is in the package"
    return member.read()
