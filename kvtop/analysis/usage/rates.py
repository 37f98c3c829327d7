"""Tokens per second, from two readings of the same server."""

from kvtop.domain.server import ServerReading, ServerState, Slot


def generated_per_second(before: ServerReading, now: ServerReading, elapsed_seconds: float) -> float | None:
    """Tokens generated per second between two readings; None where neither slots nor a counter say.

    llama.cpp: from the slots' own counts of the current request, since `tokens_predicted_total` moves only when a
    request ends; a slot that began a new request counts from zero. vLLM and SGLang count every step's tokens.
    """
    if now.counters.generated_tokens_per_second is not None:
        return now.counters.generated_tokens_per_second
    if elapsed_seconds <= 0:
        return None
    if now.pools:  # an engine with a pool counts the tokens of each step (vllm/v1/metrics/loggers.py)
        return _per_second(before.counters.generated_tokens_total, now.counters.generated_tokens_total, elapsed_seconds)
    if before.slots is None or now.slots is None:
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
    """Prompt tokens per second: of the slots that read one, else from the server's counter.

    A server that sleeps reads none. llama.cpp's counter moves only when a prompt has been read.
    """
    if now.state is ServerState.SLEEPING:
        return None
    if now.counters.prompt_tokens_per_second is not None:
        return now.counters.prompt_tokens_per_second
    if before.slots and now.slots and any(slot.prompt_read_tokens is not None for slot in now.slots):
        return _read_by_slots(before.slots, now.slots) / elapsed_seconds if elapsed_seconds > 0 else None
    return _per_second(before.counters.prompt_tokens_total, now.counters.prompt_tokens_total, elapsed_seconds)


def _read_by_slots(before: tuple[Slot, ...], now: tuple[Slot, ...]) -> int:
    known = {slot.id: slot for slot in before}
    read = 0
    for slot in now:
        earlier = known.get(slot.id)
        if slot.prompt_read_tokens is None:
            continue
        is_same = earlier is not None and earlier.task_id == slot.task_id
        read += max(slot.prompt_read_tokens - ((earlier.prompt_read_tokens or 0) if is_same and earlier else 0), 0)
    return read


def _per_second(earlier: float | None, later: float | None, elapsed_seconds: float) -> float | None:
    if earlier is None or later is None or elapsed_seconds <= 0 or later < earlier:
        return None
    return (later - earlier) / elapsed_seconds
