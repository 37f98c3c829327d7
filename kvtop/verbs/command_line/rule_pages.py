"""The pages of the rules as text, and docs/rules.md as a whole, which `make pages` writes."""

from kvtop.analysis.lint.rule import Example, Rule
from kvtop.analysis.lint.rules import RULES
from kvtop.views.export.sarif import Descriptor

_HEADER = """\
# Rules

What `kvtop lint` and the dashboard look for. This page is generated from the rules themselves
(`make pages`), and a test keeps it true.

error: will not start, or loses requests. warning: costs memory, speed or quality. info: worth knowing.
`kvtop lint` fails (exit code 1) on warnings and errors unless `--fail-on` says otherwise. A rule that lacks an input is
"not evaluated" and says which; it never counts as passed.

A rule that you have decided against goes into the configuration file, with the reason:

    [[suppress]]
    rule = "metrics-disabled"
    server = "127.0.0.1:8080"
    reason = "this one is scraped through the proxy"

Without `server` it holds everywhere, without `rule` for all rules of that server. `kvtop lint --select CODE` asks only
some rules and `--ignore CODE` leaves some out, for one run; the table `[lint]` with `select` and `ignore` does it for
all.
"""


def page(rule: Rule) -> str:
    """One rule: code and name, its docstring, and the two scenarios of its test."""
    scenarios = f"Fires:  {_shown(rule.module.FIRES)}\nQuiet:  {_shown(rule.module.QUIET)}"
    return f"{rule.code} {rule.slug}\n\n{rule.page}\n\n{scenarios}"


def _shown(example: Example) -> str:
    devices = "".join(f" --gpu {spec}" if " " not in spec else f" --gpu '{spec}'" for spec in example.gpus)
    variables = "".join(f"{name}={value} " for name, value in example.environ)
    model = f"  (MODEL: {example.model})" if example.model else ""
    running = "  (running)" if example.observed is not None else ""
    return f"{variables}kvtop lint{devices} -- {example.command}{model}{running}"


def descriptors() -> tuple[Descriptor, ...]:
    """The rules as SARIF lists them."""
    return tuple(Descriptor(rule.code, rule.slug, rule.title, rule.page) for rule in RULES)


def rules_page() -> str:
    """docs/rules.md."""
    parts = [_HEADER]
    for rule in RULES:
        engines = ", ".join(rule.module.ENGINES) or "any engine"
        scenarios = f"    {_shown(rule.module.FIRES)}\n    {_shown(rule.module.QUIET)}"
        parts.append(
            f"## {rule.code} {rule.slug}\n\n{rule.page}\n\nConcerns: {engines}. Fires on the first, not on the second:"
            f"\n\n{scenarios}\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    print(rules_page(), end="")
