"""What `kvtop doctor` finds in a sample, for the doctor himself and for the archive of a bug report."""

import argparse

from kvtop import __version__
from kvtop.analysis.doctor import checkup
from kvtop.config import Config
from kvtop.domain.answers.checkup import Checkup, ProbedHost
from kvtop.domain.sample import Sample
from kvtop.sources.devices import BACKENDS
from kvtop.sources.devices.makers import accelerator_makers
from kvtop.sources.engines import ENGINES


def checkup_of(args: argparse.Namespace, config: Config, sample: Sample) -> Checkup:
    """Everything that was probed for this sample; of a scenario only what it has itself."""
    is_here = args.demo is None
    drivers = tuple(entry.driver for entry in BACKENDS)
    around = ProbedHost(
        drivers=drivers if is_here else tuple(dict.fromkeys(device.driver for device in sample.devices)),
        engines=tuple(engine.NAME for engine in ENGINES),
        makers=accelerator_makers() if is_here else None,
        discovers=config.discover or not is_here,
    )
    return checkup(sample, around, __version__)
