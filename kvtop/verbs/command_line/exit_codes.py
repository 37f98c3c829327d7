"""The exit codes of kvtop, in one place: what a script, a gate or a supervisor may rely on.

Plain integers, not an enumeration: every start of the program imports this module.
"""

OK = 0
"""Done: it fits, nothing was found, the document was written."""
FINDING = 1
"""The answer is no: it does not fit, there are findings or differences, a named endpoint did not answer."""
FAILED = 1
"""The work could not be finished: an output cannot be written, an address cannot be bound, a tool failed."""
USAGE = 2
"""A flag, a configuration or an input file that cannot be used; `argparse` exits with this one too."""
REFUSED = 3
"""The engine would refuse to start with this command."""
NOTHING_TO_CHECK = 3
"""Nothing failed, and there was nothing to check: no server to lint, no rule that could be evaluated."""
NO_RULE = 4
"""kvtop has no exact rule for this engine, model or option."""
INTERNAL_ERROR = 70
"""A fault of kvtop itself (EX_SOFTWARE of sysexits.h)."""
CANNOT_EXECUTE, NOT_FOUND = 126, 127
"""As a shell says it of a command that it was to run: only `kvtop wrap`."""
INTERRUPTED = 130
"""Ended by Ctrl-C: 128 and the number of SIGINT."""
