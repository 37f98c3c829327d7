"""`--host SIZE`: the host memory of the machine that is planned for."""

import argparse

OPTION = "--host"


def add_host(parser: argparse.ArgumentParser) -> None:
    """The option, in bytes as `host_bytes`."""
    parser.add_argument(
        OPTION,
        dest="host_bytes",
        type=_size,
        metavar="SIZE",
        help="the host memory that the server may use: 64GiB (default: what is free here, unknown beside --gpu)",
    )


def _size(text: str) -> int:
    from kvtop.text import parse_bytes  # noqa: PLC0415  only where it is given

    try:
        size_bytes = parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if size_bytes < 1 << 20:
        raise argparse.ArgumentTypeError("less than 1 MiB; a size needs its unit, as in 64GiB")
    return size_bytes
