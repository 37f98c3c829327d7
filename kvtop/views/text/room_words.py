"""How much of a device there is for a plan, and what is set aside of it, in words."""

from collections.abc import Iterable

from kvtop.domain.answers.room import Room
from kvtop.domain.figure import Figure
from kvtop.text import bytes_text


def of_words(room: Room) -> str:
    """ "of 23.5 GiB, 3.91 GiB of it free; 364 MiB (100 MiB to 856 MiB) reserved for context and pool"."""
    total_bytes, available_bytes = room.total_bytes, room.available_bytes
    words = f"of {bytes_text(available_bytes if total_bytes is None else total_bytes)}"
    if total_bytes is not None and available_bytes < total_bytes:
        words += f", {bytes_text(available_bytes)} of it free"
    return f"{words}{reserve_words(room)}"


def available_words(room: Room) -> str:
    """ "23.5 GiB", or "19.6 GiB free" where others hold a part of it."""
    is_all = room.total_bytes is None or room.available_bytes >= room.total_bytes
    return bytes_text(room.available_bytes) + ("" if is_all else " free")


def reserve_words(room: Room) -> str:
    """What comes off for the process itself beside its plan, or ""."""
    reserve = room.reserve
    if not reserve.most_bytes:
        return ""
    high = bytes_text(reserve.most_bytes)
    span = f"{bytes_text(reserve.least_bytes)} to {high}" if reserve.least_bytes > 0 else f"at most {high}"
    return f"; {bytes_text(reserve.value_bytes)} ({span}) reserved for context and pool"


def reserve_notes(rooms: Iterable[Room | None]) -> tuple[str, ...]:
    """What is set aside on the devices of these rooms, each amount once."""
    words = [
        reserve_words(room).removeprefix("; ").replace(" reserved for context and pool", "")
        for room in rooms
        if room is not None and room.reserve.most_bytes
    ]
    return tuple(f"reserved on a card for context and pool, beside every plan: {it}" for it in dict.fromkeys(words))


def left_words(room: Room, needed: Figure) -> str:
    """By the likeliest figures."""
    left_bytes = room.value_bytes - (needed.value_bytes or 0)
    return f"{bytes_text(abs(left_bytes))} {'left' if left_bytes >= 0 else 'short'}"


def tight_words(needed: Figure, room: Room | None) -> str:
    """Which end of the estimates decides."""
    if room is not None and (needed.value_bytes or 0) > room.value_bytes:
        return "fits only if the estimate is at its low end"
    return "fits unless the estimate is at its high end"
