"""How a rule says that vLLM itself would not start."""


class StartRefusedError(Exception):
    """vLLM 0.32.0 raises instead of starting. str() is vLLM's own text; `plan_command` turns it into a Refusal."""
