"""Tokens per second, from two readings of the same server."""

from kvtop.domain.server import ServerReading


def generated_per_second(before: ServerReading, now: ServerReading, elapsed_seconds: float) -> float | None:
    """Tokens generated per second between two readings; None where the slots do not say.

    From the slots' own counts of the current request, since `tokens_predicted_total` moves only when a request ends. A
    slot that began a new request counts from zero.
    """
    if before.slots is None or now.slots is None or elapsed_seconds <= 0:
        return None
    counts = {slot.id: slot.decoded_tokens for slot in before.slots}
    generated = 0
    for slot in now.slots:
        if slot.decoded_tokens is None:
            continue
        earlier = counts.get(slot.id) or 0
        if slot.is_processing:
            generated += slot.decoded_tokens - earlier if slot.decoded_tokens >= earlier else slot.decoded_tokens
    return generated / elapsed_seconds


def prompt_per_second(before: ServerReading, now: ServerReading, elapsed_seconds: float) -> float | None:
    """Prompt tokens per second from the server's own counter; None where it is not exported or was reset."""
    earlier, later = before.counters.prompt_tokens_total, now.counters.prompt_tokens_total
    if earlier is None or later is None or elapsed_seconds <= 0 or later < earlier:
        return None
    return (later - earlier) / elapsed_seconds
