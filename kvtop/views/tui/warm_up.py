"""Preloads during idle time what a key would otherwise wait for."""

import gc
from contextlib import suppress
from importlib import import_module
from threading import Thread

AFTER_SECONDS = 2.0
"""When the first figures have long been drawn."""


def warm_up() -> None:
    """Loads the plotting library, which takes longer than a key may, and spares walks through all that was imported.

    A full garbage collection takes over a tenth of a second with the toolkit's objects in it; they stay for good.
    """
    gc.collect()
    gc.freeze()
    with suppress(RuntimeError):  # the machine gives no thread now: plots import it when they are drawn
        Thread(target=import_module, args=("plotext",), name="plots", daemon=True).start()
