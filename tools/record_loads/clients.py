"""Clients that ask a real server as a shape says, and what became of each of their requests."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tools.record_loads.shapes import Client, Limit

GENEROUS_TOKENS = 4096
_TEXT = (
    "the sea was calm and a small boat went out before dawn with two men who had not slept because the wind had turned "
    "in the night and nobody in the village knew whether the harbour would be open again when the tide came back"
)
_WORDS = _TEXT.split()

Report = Callable[[str, dict[str, Any]], None]
"""Told of every event of a request: its kind, and what is known of it."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How an engine is asked: the path, the body's names, and how many characters a token has."""

    path: str
    limit_name: str
    text_of: Callable[[dict[str, Any]], str]
    end_of: Callable[[dict[str, Any]], str | None]
    """Why it ended: "limit", "stop", or None while it has not."""
    characters_a_token: float


def _llama_end(event: dict[str, Any]) -> str | None:
    if not event.get("stop"):
        return None
    return "cut by the context" if event.get("truncated") else str(event.get("stop_type", "stop"))


def _vllm_end(event: dict[str, Any]) -> str | None:
    return next((choice.get("finish_reason") for choice in event.get("choices", ())), None)


LLAMA = Dialect("/completion", "n_predict", lambda event: str(event.get("content", "")), _llama_end, 1.0)
VLLM = Dialect(
    "/v1/completions",
    "max_tokens",
    lambda event: "".join(choice.get("text", "") for choice in event.get("choices", ())),
    _vllm_end,
    1.0,
)


class Asking(threading.Thread):
    """One client of a shape, until the shape is over."""

    def __init__(
        self, number: int, client: Client, dialect: Dialect, port: int, report: Report, is_over: threading.Event
    ) -> None:
        super().__init__(daemon=True)
        self._number, self._client, self._dialect, self._port = number, client, dialect, port
        self._report, self._is_over = report, is_over
        self._random = random.Random(1000 + number)
        self._conversation = ""
        self._tokens = 0
        self._began = time.monotonic()

    def run(self) -> None:
        """Ask until the shape is over, or as often as the client does."""
        self._is_over.wait(self._client.starts_at)
        for _ in range(self._client.requests):
            if self._is_over.is_set() or time.monotonic() - self._began > self._client.stops_at:
                return
            self._once()
            self._is_over.wait(self._random.uniform(*self._client.pause_seconds))

    def _once(self) -> None:
        more = self._random.randint(*self._client.prompt)
        answer_tokens = self._random.randint(*self._client.answer)
        compacts_at = self._client.compacts_at
        if not self._client.grows or (compacts_at is not None and self._tokens > compacts_at):
            self._conversation, self._tokens = "", 0
        self._conversation += self._words(more)
        body: dict[str, Any] = {"prompt": self._conversation, "stream": True, "temperature": 0.9, "ignore_eos": True}
        ends_itself = self._client.limit is Limit.EXACT or (self._dialect is VLLM and not self._client.is_runaway)
        if ends_itself:  # vLLM says of no running request what its limit is, and does not count those that hang up
            body[self._dialect.limit_name] = answer_tokens
        elif self._client.limit is Limit.GENEROUS:
            body[self._dialect.limit_name] = GENEROUS_TOKENS
        if self._dialect is VLLM:
            body["model"] = "tiny"
            self._bounded_by_context(body, more)
        text, end, generated = self._answer(body, None if ends_itself or self._client.is_runaway else answer_tokens)
        self._conversation += text
        self._tokens += more + generated
        self._report(end, {"client": self._number, "prompt": more, "answer": generated})
        if end.startswith(("cut", "refused")):
            self._conversation, self._tokens = "", 0

    def _bounded_by_context(self, body: dict[str, Any], more: int) -> None:
        """vLLM's completions default to 16 tokens, and it refuses a limit beyond its context: clients know that."""
        left = 8192 - self._tokens - more - 16
        body["max_tokens"] = max(min(body.get("max_tokens", left), left), 1)

    def _words(self, tokens: int) -> str:
        characters = int(tokens * self._dialect.characters_a_token)
        text = f"{self._random.randrange(10**6)} "
        while len(text) < characters:
            text += self._random.choice(_WORDS) + " "
        return text[:characters]

    def _answer(self, body: dict[str, Any], enough: int | None) -> tuple[str, str, int]:
        """(text, why it ended, tokens); hangs up after `enough` tokens, as if the model had ended there."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=600)
        pieces: list[str] = []
        try:
            connection.request(
                "POST", self._dialect.path, json.dumps(body).encode(), {"Content-Type": "application/json"}
            )
            reply = connection.getresponse()
            if reply.status != 200:
                return "", f"refused: {reply.read().decode('utf-8', 'replace')[:200]}", 0
            for line in reply:
                if self._is_over.is_set():
                    return "".join(pieces), "the shape is over", len(pieces)
                if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                    continue
                event = json.loads(line[6:])
                if "error" in event:
                    return "".join(pieces), f"refused: {json.dumps(event['error'])[:200]}", len(pieces)
                pieces.append(self._dialect.text_of(event))
                end = self._dialect.end_of(event)
                if end is not None:
                    return "".join(pieces), end, len(pieces)
                if enough is not None and len(pieces) >= enough:
                    return "".join(pieces), "hung up", len(pieces)
            return "".join(pieces), "the connection ended", len(pieces)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            return "".join(pieces), f"failed: {error}", len(pieces)
        finally:
            connection.close()
