"""What the recorder asks of the stand-in's driver, and what it hears: one question a case, one answer a question."""

import json
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD = "81920:81920"
"""80 GiB in MiB, all free: larger than any recorded placement minds, since nothing is allocated."""

Answer = dict[str, Any]

_MODEL = re.compile(r"\{MODEL:([^}]+)\}")


class DriverError(Exception):
    """The driver ended before it had answered everything."""


@dataclass(frozen=True, slots=True)
class Question:
    """A command of llama-server on some cards.

    `cards` are TOTAL:FREE in MiB; `wishes` are words of driver.cpp. `flags` come without the model; `{MODEL:name}`
    among them is the file of another one.
    """

    name: str
    model: str
    cards: tuple[str, ...]
    flags: tuple[str, ...]
    wishes: tuple[str, ...] = ()

    def line(self, models: Path) -> str:
        """The line that the driver reads. `models` is the folder with one GGUF file a model."""
        words = (
            self.name,
            ",".join(self.cards) or "-",
            ",".join(self.wishes) or "-",
            *("-m", str(models / f"{self.model}.gguf")),
            *(_MODEL.sub(lambda match: str(models / f"{match.group(1)}.gguf"), flag) for flag in self.flags),
        )
        return "\t".join(words)


def ask(driver: Path, models: Path, questions: Sequence[Question]) -> dict[str, Answer]:
    """Every question's answer by its name. Raises DriverError where the driver stops early or names differ."""
    text = "".join(f"{question.line(models)}\n" for question in questions)
    done = subprocess.run(
        [str(driver)], input=text, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    names = [answer["name"] for answer in answers]
    if done.returncode or names != [question.name for question in questions]:
        raise DriverError(
            f"{driver} answered {len(answers)} of {len(questions)} questions (exit code {done.returncode})"
        )
    return dict(zip(names, answers, strict=True))


def by_device(measured: Answer, idle_cards: int = 0) -> dict[str, dict[str, int]]:
    """Bytes of each card in use, by its place among all cards, and of the host, where repacked weights lie too.

    With `idle_cards` every one of so many cards is there, those without anything at 0.
    """
    found: dict[str, dict[str, int]] = {f"gpu{index}": _nothing() for index in range(idle_cards)}
    for name, amounts in measured["by_device"].items():
        place = found.setdefault(_card(measured, name) if name.startswith("gpu") else "host", _nothing())
        for part, amount in amounts.items():
            place[part] += amount
    return found


def _nothing() -> dict[str, int]:
    return {"weights": 0, "kv": 0, "compute": 0}


def _card(measured: Answer, name: str) -> str:
    """The driver counts the devices that the model uses; the fixtures count the cards."""
    return str(measured["devices"][int(name.removeprefix("gpu"))]).replace("CUDA", "gpu")


def total(measured: Answer, part: str) -> int:
    """A part's bytes over all devices."""
    return sum(amounts[part] for amounts in measured["by_device"].values())


def refusal(answer: Answer) -> list[str] | None:
    """The engine's words where it makes no context of the command; None where it does."""
    if "refused" in answer.get("main", {"refused": ""}):
        return list(answer.get("errors", [])) or ["the engine ended without a word"]
    return None


def warnings(answer: Answer) -> list[str]:
    """The engine's warnings about the settings; that a file without vocabulary gets invented tokens is not one."""
    return [line for line in answer.get("warnings", []) if "dummy tokens" not in line]


def with_cards(count: int) -> tuple[str, ...]:
    """That many cards of the size at which the fixtures were recorded."""
    return (CARD,) * count


def numbered(items: Iterable[Any]) -> list[tuple[str, Any]]:
    """Cases without a name of their own get their place."""
    return [(str(index), item) for index, item in enumerate(items)]
