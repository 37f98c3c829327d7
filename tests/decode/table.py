"""The estimates of decode speed beside public measurements: `make decode`."""

from statistics import median

from kvtop.planning.decode_speed import HIGH_RATIO, LOW_RATIO
from tests.decode.measurements import FIXTURE, measurements


def main() -> None:
    """Print every row, and how many lie within the range."""
    print(f"{'model':19} {'GiB':>6} {'cards':27} {'host':>5} {'options':15} {'measured':>8} {'estimated':>24} ratio")
    ratios = []
    within = 0
    for row in measurements():
        found = row.estimate()
        ratio = row.tokens_per_second / found.tokens_per_second
        ratios.append(ratio)
        within += found.low <= row.tokens_per_second <= found.high
        host = "" if row.host_bytes_per_second is None else f"{row.host_bytes_per_second / 10**9:.0f}"
        span = f"{found.tokens_per_second:7.1f}, {found.low:.1f} to {found.high:.1f}"
        print(
            f"{row.model:19} {row.file_gib:6.2f} {row.gpus:27} {host:>5} {row.flags:15} {row.tokens_per_second:8.1f} "
            f"{span:>24} {ratio:5.2f}"
        )
    print(
        f"{len(ratios)} measurements of {FIXTURE.name}: median of measured over estimated {median(ratios):.2f}, "
        f"{within} within the range ({LOW_RATIO:g} to {HIGH_RATIO:g} times the estimate)"
    )


if __name__ == "__main__":
    main()
