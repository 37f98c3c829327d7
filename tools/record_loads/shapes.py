"""The load shapes: who asks what of a server, and for how long. A table, so that a new shape is a line.

Lengths are in tokens. The shapes are those of the field: chat, long prompts, agents whose conversation grows, bursts,
idle servers, batch jobs, and requests that never end. Answers end as they do there: at the limit that the client set,
by the model's own end (here the client hangs up, which frees the slot the same way), or at the limit of the context.
"""

from dataclasses import dataclass
from enum import StrEnum


class Limit(StrEnum):
    """What a client says of the length of its answer."""

    EXACT = "exact"
    """The limit is what it gets: the answer ends there."""
    GENEROUS = "generous"
    """A large limit, as many clients send with every request; the answer ends long before."""
    NONE = "none"
    """No limit: the engine's own is the context."""


@dataclass(frozen=True, slots=True)
class Client:
    """One that asks again and again. Ranges are drawn from evenly; seconds count from the start of the shape.

    `grows`: every prompt is the whole conversation and `prompt` more, as an agent's or a chat's is; above
    `compacts_at` tokens it begins anew. `is_runaway`: its answers never end by themselves.
    """

    prompt: tuple[int, int]
    answer: tuple[int, int]
    limit: Limit = Limit.EXACT
    starts_at: float = 0.0
    stops_at: float = 1e9
    pause_seconds: tuple[float, float] = (0.0, 0.0)
    requests: int = 10_000
    grows: bool = False
    compacts_at: int | None = None
    is_runaway: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A named load of a server (a name of `servers.SERVERS`) for so many seconds."""

    name: str
    server: str
    seconds: int
    clients: tuple[Client, ...]


def _many(count: int, client: Client) -> tuple[Client, ...]:
    return (client,) * count


_GENEROUS, _NONE = Limit.GENEROUS, Limit.NONE

SHAPES: tuple[Shape, ...] = (
    # llama-server, four slots of one pool of 4,096 cells.
    Shape("llama-chat-in-one-pool", "unified", 180, _many(3, Client((60, 500), (80, 300), pause_seconds=(0.5, 4)))),
    Shape(
        "llama-chat-without-limits", "unified", 180, _many(3, Client((60, 400), (60, 300), _NONE, pause_seconds=(1, 5)))
    ),
    Shape("llama-burst-in-one-pool", "unified", 120, _many(4, Client((50, 120), (150, 250), starts_at=25, requests=2))),
    Shape(
        "llama-four-runaways-in-one-pool",
        "unified",
        130,
        _many(4, Client((50, 200), (1, 1), _NONE, starts_at=8, requests=1, is_runaway=True)),
    ),
    Shape(
        "llama-runaway-beside-chat",
        "unified",
        480,
        (
            Client((100, 100), (1, 1), _NONE, starts_at=10, requests=1, is_runaway=True),
            *_many(2, Client((60, 300), (60, 200), pause_seconds=(1, 4))),
        ),
    ),
    Shape(
        "llama-conversation-in-one-pool",
        "unified",
        260,
        (Client((60, 140), (80, 180), _GENEROUS, grows=True, pause_seconds=(1.5, 3)),),
    ),
    Shape("llama-busy-pool", "unified", 200, _many(4, Client((250, 650), (80, 250), _NONE, pause_seconds=(0, 0.5)))),
    # llama-server, four slots with 2,048 cells each.
    Shape("llama-chat-in-slots", "slots", 180, _many(3, Client((60, 500), (80, 300), pause_seconds=(0.5, 4)))),
    Shape(
        "llama-chat-generous", "slots", 180, _many(4, Client((100, 700), (60, 350), _GENEROUS, pause_seconds=(0, 3)))
    ),
    Shape("llama-long-prompts", "slots", 160, _many(2, Client((900, 1700), (40, 120), pause_seconds=(1, 5)))),
    Shape(
        "llama-long-prompts-no-limit",
        "slots",
        160,
        _many(2, Client((1000, 1600), (40, 160), _NONE, pause_seconds=(1, 6))),
    ),
    Shape("llama-agent", "slots", 240, (Client((60, 120), (60, 120), grows=True, pause_seconds=(1.5, 4)),)),
    Shape(
        "llama-agent-without-limit",
        "slots",
        240,
        (Client((50, 150), (50, 120), _NONE, grows=True, pause_seconds=(2, 5)),),
    ),
    Shape(
        "llama-two-agents",
        "slots",
        300,
        (
            Client((60, 120), (50, 100), grows=True, pause_seconds=(2, 5)),
            Client((30, 80), (40, 80), grows=True, starts_at=15, pause_seconds=(2, 6)),
        ),
    ),
    Shape(
        "llama-agent-that-compacts",
        "slots",
        240,
        (Client((80, 160), (60, 120), _GENEROUS, grows=True, compacts_at=1300, pause_seconds=(1, 3)),),
    ),
    Shape("llama-runaway", "slots", 150, (Client((80, 80), (1, 1), _NONE, starts_at=6, requests=1, is_runaway=True),)),
    Shape(
        "llama-runaway-after-chat",
        "slots",
        200,
        (
            *_many(2, Client((60, 300), (60, 250), _NONE, stops_at=45, pause_seconds=(1, 3))),
            Client((80, 80), (1, 1), _NONE, starts_at=50, requests=1, is_runaway=True),
        ),
    ),
    Shape("llama-batch", "slots", 180, _many(6, Client((80, 200), (200, 300), requests=3))),
    Shape("llama-long-answers", "slots", 180, _many(3, Client((60, 150), (1200, 1600), pause_seconds=(2, 4)))),
    Shape(
        "llama-answers-cut-by-the-context",
        "slots",
        180,
        _many(2, Client((60, 200), (4000, 4000), requests=1, starts_at=5, is_runaway=True)),
    ),
    Shape("llama-idle", "slots", 60, (Client((200, 200), (60, 60), starts_at=5, requests=1),)),
    # vLLM: a pool of 24,576 tokens, requests of at most 8,192, at most 8 at once.
    Shape("vllm-chat", "pool", 120, _many(4, Client((200, 1500), (100, 500), _GENEROUS, pause_seconds=(0.5, 4)))),
    Shape("vllm-chat-crowded", "pool", 120, _many(8, Client((200, 1800), (100, 600), _NONE, pause_seconds=(0, 2)))),
    Shape("vllm-busy-pool", "pool", 200, _many(8, Client((800, 2200), (200, 700), pause_seconds=(0, 0.5)))),
    Shape("vllm-long-prompts", "pool", 110, _many(3, Client((2500, 6000), (50, 150), pause_seconds=(1, 5)))),
    Shape("vllm-bursts", "pool", 130, _many(6, Client((200, 700), (200, 500), pause_seconds=(30, 31), starts_at=12))),
    Shape("vllm-idle", "pool", 60, (Client((300, 300), (100, 100), starts_at=5, requests=1),)),
    Shape("vllm-agent", "pool", 140, (Client((250, 500), (60, 160), grows=True, pause_seconds=(1, 4)),)),
    Shape(
        "vllm-five-agents",
        "pool",
        220,
        _many(5, Client((150, 320), (80, 200), _GENEROUS, grows=True, pause_seconds=(0, 1.5))),
    ),
    Shape(
        "vllm-agents-that-compact",
        "pool",
        200,
        _many(3, Client((200, 500), (80, 200), grows=True, compacts_at=4500, pause_seconds=(0.5, 2))),
    ),
    Shape("vllm-runaway", "pool", 120, (Client((200, 200), (1, 1), _NONE, starts_at=8, requests=1, is_runaway=True),)),
    Shape(
        "vllm-six-runaways",
        "pool",
        170,
        _many(6, Client((200, 400), (1, 1), _NONE, starts_at=8, requests=1, is_runaway=True)),
    ),
    Shape(
        "vllm-runaways-beside-chat",
        "pool",
        200,
        (
            *_many(3, Client((200, 900), (100, 400), _GENEROUS, pause_seconds=(0.5, 3))),
            *_many(4, Client((300, 600), (1, 1), _NONE, starts_at=35, requests=1, is_runaway=True)),
        ),
    ),
    Shape("vllm-batch", "pool", 150, _many(12, Client((300, 800), (400, 600), requests=4))),
    Shape("vllm-long-answers", "pool", 160, _many(4, Client((200, 500), (1500, 2600), pause_seconds=(1, 4)))),
    Shape(
        "vllm-more-and-more-users",
        "pool",
        170,
        tuple(
            Client((2600, 3200), (250, 500), _GENEROUS, starts_at=15.0 * number, pause_seconds=(0, 0.5))
            for number in range(8)
        ),
    ),
    # Recorded after the rules were settled, and not looked at before.
    Shape("llama-slow-agent", "slots", 330, (Client((40, 80), (50, 90), grows=True, pause_seconds=(4, 8)),)),
    Shape("llama-thinking", "slots", 240, _many(3, Client((60, 200), (400, 1000), _NONE, pause_seconds=(1, 4)))),
    Shape(
        "llama-runaway-with-a-limit-beside-chat",
        "slots",
        220,
        (
            Client((200, 200), (1, 1), _GENEROUS, starts_at=25, requests=1, is_runaway=True),
            *_many(2, Client((60, 400), (60, 200), _GENEROUS, pause_seconds=(1, 4))),
        ),
    ),
    Shape(
        "llama-two-conversations-in-one-pool",
        "unified",
        280,
        _many(2, Client((50, 110), (50, 110), _NONE, grows=True, pause_seconds=(1, 4))),
    ),
    Shape(
        "llama-a-bit-of-everything",
        "unified",
        220,
        (
            Client((60, 300), (60, 200), _NONE, stops_at=120, pause_seconds=(1, 4)),
            Client((1200, 1800), (60, 120), starts_at=50, requests=3, pause_seconds=(10, 20)),
            *_many(3, Client((60, 100), (100, 200), starts_at=130, requests=2)),
        ),
    ),
    Shape("vllm-thinking", "pool", 200, _many(4, Client((100, 400), (800, 2400), pause_seconds=(1, 6)))),
    Shape(
        "vllm-chat-then-a-flood",
        "pool",
        200,
        (
            *_many(3, Client((200, 900), (100, 400), stops_at=70, pause_seconds=(0.5, 3))),
            *_many(5, Client((300, 700), (1, 1), _NONE, starts_at=60, requests=1, is_runaway=True)),
        ),
    ),
    Shape("vllm-three-agents", "pool", 240, _many(3, Client((250, 500), (60, 160), grows=True, pause_seconds=(1, 3)))),
)
