"""Drivers: who reports a device, and what everybody who reads its figures must know of that source."""

from dataclasses import dataclass

from kvtop.domain.compute_api import UNKNOWN_API, ComputeApi


@dataclass(frozen=True, slots=True)
class Driver:
    """One source of devices: a driver, the kernel, or a metrics exporter.

    `name` is its word in exports and recordings, `title` the same in a sentence, `maker` who builds the cards behind
    it, "" where that is nobody in particular. `brands` are beginnings of its cards' names that tell none from another.
    `compute_apis` are those that engines use on its devices, the usual one first. `lists_processes` False: it counts
    whole cards only. `absences` are the beginnings of the failures that say no more than that this machine has no such
    card. `tool` is the maker's own program that asks the same driver, or "".
    """

    name: str
    title: str = ""
    maker: str = ""
    compute_apis: tuple[ComputeApi, ...] = ()
    lists_processes: bool = True
    absences: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    tool: str = ""

    @property
    def compute_api(self) -> ComputeApi:
        """What an engine most likely uses on a device of this driver."""
        return self.compute_apis[0] if self.compute_apis else UNKNOWN_API

    def short_name(self, name: str) -> str:
        """A card's name without the brands that it shares with all others."""
        for brand in self.brands:
            name = name.removeprefix(brand)
        return name

    @property
    def said_by(self) -> str:
        """The source as a figure names it."""
        return self.title or self.name


HOST_DRIVER = Driver("host", "the kernel")
"""This machine's memory, whose processes are looked at here."""
REMOTE_HOST_DRIVER = Driver("remote host", "kvtop there")
"""Another machine's memory, as its own kvtop reports it."""
