"""What a server comes to hold in host memory beside its plan, in words."""

from kvtop.domain.plan import HostGrowth
from kvtop.text import bytes_text


def host_growth_words(found: HostGrowth | None) -> str:
    """ "grows by at most 8.75 GiB: saved prompts up to 8.00 GiB (…), 4 x 32 context checkpoints of …", or ""."""
    parts = [] if found is None else [part for part in (_prompts(found), _checkpoints(found)) if part]
    if found is None or not parts:
        return ""
    most = "without a limit" if found.cache_limit_bytes is None else "by an unknown amount"
    if found.most_bytes is not None:
        most = f"by at most {bytes_text(found.most_bytes)}"
    return f"grows {most}: {', '.join(parts)}"


def _prompts(found: HostGrowth) -> str:
    limit_bytes = found.cache_limit_bytes
    if limit_bytes == 0:
        return ""
    limit = "no limit" if limit_bytes is None else f"up to {bytes_text(limit_bytes)}"
    one = "?" if found.prompt_bytes is None else bytes_text(found.prompt_bytes)
    return f"saved prompts {limit} (--cache-ram; one of {found.prompt_tokens} tokens: {one})"


def _checkpoints(found: HostGrowth) -> str:
    total_bytes = found.checkpoints_bytes
    if total_bytes == 0 or found.checkpoints == 0:
        return ""
    count = f"{found.slots} x {found.checkpoints}"
    if total_bytes is None or found.checkpoint_bytes is None:
        return f"{count} context checkpoints of unknown size"
    each = bytes_text(found.checkpoint_bytes)
    return f"{count} context checkpoints (--ctx-checkpoints) of {each}: {bytes_text(total_bytes)}"
