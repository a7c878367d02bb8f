"""Threads for what may take long, and which the process never waits for when it leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(job: Callable[[], T], *, name: str) -> Future[T]:
    """Do ``job`` in a thread called ``name``; whatever it raises comes out of the future.

    Unlike those of a ``ThreadPoolExecutor`` the thread dies with the process, however long its job would still take.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # told to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
