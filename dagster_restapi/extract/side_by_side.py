"""Many walks at once: a few threads, one stop signal, and the first error in the order of the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from dagster_restapi.errors import Cancelled

Item = TypeVar("Item")

_PATIENCE = 5.0  # seconds that a terminated run waits for its threads


def side_by_side(
    work: Callable[[Item], None],
    items: Iterable[Item],
    *,
    workers: int,
    stop: threading.Event,
    tick: Callable[[], None],
) -> None:
    """Does `work` for each item in `workers` threads, taking items in order and never ahead of a free thread.

    The calling thread only waits and ticks (about five times a second), so that a signal reaches it at once. When one
    item fails, `stop` is set, the others end at their next page, and the error of the earliest item is raised.

    Raises:
        Cancelled: `stop` was set from outside.
    """
    source = enumerate(items)
    turn = threading.Lock()
    errors: list[tuple[int, BaseException]] = []

    def worker() -> None:
        while not stop.is_set():
            number = -1
            try:
                with turn:
                    number, item = next(source, (-1, None))
                if number < 0:
                    return
                work(item)  # type: ignore[arg-type]  # an item follows every number that is not -1
            except Cancelled:
                return
            except BaseException as error:  # noqa: BLE001  # carried to the calling thread, which raises it
                errors.append((number, error))
                stop.set()
                return

    threads = [threading.Thread(target=worker, name=f"restapi-{n}", daemon=True) for n in range(max(1, workers))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(timeout=0.2)
                tick()
    except BaseException:
        stop.set()
        for thread in threads:
            thread.join(timeout=_PATIENCE / len(threads))
        raise
    if errors:
        raise min(errors, key=lambda item: item[0])[1]
    if stop.is_set():
        raise Cancelled("the run was stopped", hint="Re-execute it: it goes on where it stopped.")
