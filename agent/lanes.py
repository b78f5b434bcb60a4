"""Threads that each do one kind of work, in order; a failure anywhere stops the run and never gets lost."""

import queue
import threading
from collections.abc import Callable


class Lane:
    """One thread and its queue. `on_error` gets what a task raised; the lane goes on with the next task."""

    def __init__(self, name: str, on_error: Callable[[BaseException], None]) -> None:
        self._tasks: queue.SimpleQueue[tuple[Callable[..., None], tuple[object, ...]] | None] = queue.SimpleQueue()
        self._on_error = on_error
        self._thread = threading.Thread(target=self._run, name=name)
        self._thread.start()

    def submit(self, task: Callable[..., None], *arguments: object) -> None:
        """Do `task(*arguments)` after everything submitted before."""
        self._tasks.put((task, arguments))

    def _run(self) -> None:
        while (entry := self._tasks.get()) is not None:
            task, arguments = entry
            try:
                task(*arguments)
            except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
                self._on_error(error)

    def close(self) -> None:
        """Finish what was submitted and end the thread."""
        self._tasks.put(None)
        self._thread.join()
