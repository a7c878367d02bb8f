"""Everything Capriccio raises on purpose.

    CapriccioError
    ├── UsageError (also a ValueError)     what was asked cannot be done; exit code 2
    │   ├── ConfigError                    a setting, preset or YAML key
    │   ├── ShapeError                     tensors or image sizes that do not fit
    │   ├── DatasetError                   a folder or archive of pictures
    │   ├── SnapshotError                  a network file
    │   └── RunError                       a run folder or checkpoint
    └── JobError (also a RuntimeError)     the job was right and failed; exit code 1
        ├── DivergedError                  losses stay non-finite
        ├── StorageError                   disk full, file system read-only
        ├── WorkerError                    another process of the run died
        └── Interrupted                    a signal asked to stop; everything was saved; exit code 128 + signal

A message is one line that says what was needed, what came, and what to do.
"""

from __future__ import annotations


class CapriccioError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class UsageError(CapriccioError, ValueError):
    """What was asked cannot be done; nothing was changed."""

    exit_code = 2


class CapriccioWarning(UserWarning):
    """Something was done as asked, and may not be what was meant."""


class ConfigError(UsageError):
    """A setting is out of range, contradicts another, or is not known."""


class ShapeError(UsageError):
    """Tensors, image sizes or channel counts that do not fit together."""


class DatasetError(UsageError):
    """A folder or archive of pictures that cannot be used as asked."""


class SnapshotError(UsageError):
    """A network file that is damaged, foreign or of another format version."""


class RunError(UsageError):
    """A run folder or checkpoint that cannot be used as asked."""


class JobError(CapriccioError, RuntimeError):
    """The job was asked for rightly and failed on the way; what was saved is kept."""

    exit_code = 1


class DivergedError(JobError):
    """Losses stay non-finite although the last checkpoint was tried again in fp32."""


class StorageError(JobError):
    """The disk is full or cannot be written."""


class WorkerError(JobError):
    """Another process of the same run died or stopped answering."""


class Interrupted(JobError):
    """A signal asked the job to stop, and it saved and left."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
