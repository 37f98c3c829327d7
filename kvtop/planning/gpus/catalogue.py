"""The catalogue of `--gpu` names as a list, with what follows for each."""

from kvtop.domain.answers.known_gpu import KnownGpu
from kvtop.domain.plan import PlanDevice
from kvtop.planning.gpus.bandwidths import bandwidth_of
from kvtop.planning.gpus.products import ALIASES, PRODUCTS
from kvtop.planning.gpus.reserve import FreeSays, with_reserve


def known_gpus(word: str = "") -> tuple[KnownGpu, ...]:
    """Every product whose name, or another name of it, has `word` in it, in the order of the tables."""
    found = []
    for name, product in PRODUCTS.items():
        aliases = tuple(alias for alias, known in ALIASES.items() if known == name)
        if not any(word.lower() in it.lower() for it in (name, *aliases)):
            continue
        card = PlanDevice("gpu0", product.api_total_bytes, compute_api=product.compute_api)
        seen = with_reserve(card, FreeSays.DRIVER)
        reserve = seen.own_context + seen.pool_growth
        found.append(
            KnownGpu(
                name=name,
                aliases=aliases,
                compute_api=product.compute_api,
                compute_capability=product.compute_capability,
                driver_bytes=product.total_bytes,
                total_bytes=product.api_total_bytes,
                reserve_low_bytes=reserve.least_bytes,
                reserve_high_bytes=reserve.most_bytes or 0,
                bytes_per_second=bandwidth_of(name),
                source=product.source,
            )
        )
    return tuple(found)
