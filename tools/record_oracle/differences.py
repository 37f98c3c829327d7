"""What one version of an engine answers otherwise than the newest recorded one, by part and by model.

    python -m tools.record_oracle.differences --engine llama.cpp --version b9760

kvtop's rules give the newest version's answers, so what is printed here is what a range of rules for the other version
has to change.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.record_oracle import canonical

FIXTURES = Path("tests") / "fixtures" / "oracle"
_SHOWN = 3

Flat = dict[str, Any]


def differing(newest: canonical.Recorded, other: canonical.Recorded) -> Iterator[tuple[str, str, str, Any, Any]]:
    """Rows of case, model, part, the newest answer, the other one. Cases are paired by their place."""
    for place, (ours, theirs) in enumerate(zip(_cases(newest), _cases(other), strict=True)):
        name, model = _named(place, ours)
        left, right = _parts(ours), _parts(theirs)
        if ("error" in left) != ("error" in right):
            yield name, model, "refused", left.get("error", "no"), right.get("error", "no")
            continue
        for part in sorted(left.keys() | right.keys()):
            if left.get(part) != right.get(part):
                yield name, model, part, left.get(part), right.get(part)


def _cases(recorded: canonical.Recorded) -> list[Any]:
    found: list[Any] = recorded["cases"] if "cases" in recorded else recorded["rows"]
    return found


def _named(place: int, case: Any) -> tuple[str, str]:  # noqa: ANN401  a row or an object
    if isinstance(case, list):
        return f"{place}: {case[1]} cards {case[2]}", str(case[0])
    flags = case.get("flags", case.get("settings", case.get("options", "")))
    return f"{case.get('id', place)} {flags}", str(case.get("model", case.get("id")))


def _parts(case: Any) -> Flat:  # noqa: ANN401
    """An answer as flat parts: weights, caches and the rest, each by device."""
    answer = case[3] if isinstance(case, list) else case.get("expected", case)
    if isinstance(answer, str):
        return {"error": answer}
    found: Flat = {}
    for key, value in {**answer, **(case.get("resolved", {}) if isinstance(case, dict) else {})}.items():
        if key in {"model", "settings", "flags", "id"}:
            continue
        for name, amount in _leaves(key, value):
            found[name] = amount
    return found


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if key == "by_device":
        for device, parts in value.items():
            yield from ((f"{part} ({_place(device)})", amount) for part, amount in parts.items())
    elif key.startswith("gpu") or key == "host":
        yield from (
            (f"{part} ({_place(key)})", amount)
            for part, amount in zip(("weights", "kv", "compute"), value, strict=False)
        )
    elif key == "error":
        yield key, value[0] if isinstance(value, list) else value
    elif isinstance(value, (int, float, str, type(None))):
        yield key, value


def _place(device: str) -> str:
    return "host" if device == "host" else "card"


def report(newest: canonical.Recorded, other: canonical.Recorded) -> str:
    """A summary by part: how many cases, of which models, and a few of them."""
    rows = list(differing(newest, other))
    count = len(_cases(newest))
    lines = [f"{len({row[0] for row in rows})} of {count} cases differ"]
    by_part: dict[str, list[tuple[str, str, Any, Any]]] = defaultdict(list)
    for name, model, part, ours, theirs in rows:
        by_part[part].append((name, model, ours, theirs))
    for part, found in sorted(by_part.items(), key=lambda item: -len(item[1])):
        models = sorted({model for _, model, _, _ in found})
        lines.append(
            f"  {part}: {len(found)} cases of {len(models)} models ({', '.join(models[:6])}{' …' * (len(models) > 6)})"
        )
        lines += [f"      {name}: {ours} -> {theirs}" for name, _, ours, theirs in found[:_SHOWN]]
    return "\n".join(lines)


def main() -> int:
    """Print the differences of every fixture that the other version has."""
    parser = argparse.ArgumentParser(prog="differences", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", required=True, choices=["llama.cpp", "mlx", "vllm"])
    parser.add_argument("--version", required=True)
    chosen = parser.parse_args()
    paths = sorted((FIXTURES / chosen.engine / chosen.version).glob("*.json.gz"))
    if not paths:
        parser.error(f"{FIXTURES / chosen.engine / chosen.version} holds no fixtures; run make record first")
    for path in paths:
        other = canonical.read(path)
        newest = canonical.thinned(canonical.read(FIXTURES / path.name), other.get("every", 1))
        print(f"{path.name}: {report(newest, other)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
