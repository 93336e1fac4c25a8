"""Writing in the background: one thing at a time, and no failure is lost."""

import concurrent.futures
from collections.abc import Callable


class Writer:
    """Runs jobs in a thread of its own, one after the other.

    A second job waits for the first; so memory holds the values of two at most. What a job raises is raised by
    the next call of `submit` or `join`, once. A process that ends waits for the job that is under way.
    """

    def __init__(self, name: str):
        self._pool = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=name)
        self._job: concurrent.futures.Future | None = None

    def submit(self, job: Callable[[], object]) -> None:
        """Waits for the job before, then begins this one and returns."""
        self.join()
        self._job = self._pool.submit(job)

    def join(self) -> None:
        """Waits for the job under way, if there is one."""
        job, self._job = self._job, None
        if job is not None:
            job.result()

    def close(self) -> None:
        """Waits for the job under way and ends the thread; what it raises was told, or comes too late to matter."""
        self._pool.shutdown()
