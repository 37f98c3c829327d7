"""Findings as lines: what deserves attention, the evidence, the fix; most severe first."""

from dataclasses import dataclass

from kvtop.domain.frame import Finding, Frame
from kvtop.views.tui.widgets.lines import Line, Piece, left, rule, wrap
from kvtop.views.tui.widgets.model_names import model_text

SEVERITY_LOOK = {"error": ("■", "error"), "warning": ("▲", "warning"), "info": ("•", "faint")}
"""Severity -> (mark, role), from the gravest."""


@dataclass(frozen=True, slots=True)
class FoundOn:
    """A finding and the server that it was found on."""

    server_id: str
    model: str
    finding: Finding


def all_findings(frame: Frame | None) -> tuple[FoundOn, ...]:
    """Those of every server, most severe first."""
    ranks = list(SEVERITY_LOOK)
    found = [
        FoundOn(view.reading.id, model_text(view.reading.model.name or view.reading.model.path, 40), finding)
        for view in (frame.servers if frame is not None else ())
        for finding in view.findings
    ]
    return tuple(sorted(found, key=lambda one: ranks.index(one.finding.severity)))


def finding_lines(finding: Finding, width: int, cursor: str = "") -> list[Line]:
    """One finding in full. `cursor` stands before its first line."""
    mark, role = SEVERITY_LOOK.get(finding.severity, SEVERITY_LOOK["info"])
    indent = len(cursor) + 2
    room = max(width - indent, 8)
    first, *rest = wrap(f"{finding.code} {finding.message}", room)
    lines: list[Line] = [(Piece(cursor, "key"), Piece(f"{mark} ", role), Piece(first, "strong"))]
    lines += [(Piece(" " * indent + text),) for text in rest]
    lines += [
        (Piece(" " * indent + text, "faint"),) for text in (wrap(finding.evidence, room) if _is_news(finding) else ())
    ]
    if finding.fix:
        fixed = wrap(f"fix: {finding.fix}", room)
        lines += [(Piece(" " * indent), Piece(text, "key")) for text in fixed]
    return lines


def _is_news(finding: Finding) -> bool:
    """Whether the evidence says more than the message."""
    return bool(finding.evidence) and finding.evidence not in finding.message


def findings_lines(frame: Frame | None, cursor: int, width: int, explanation: str = "") -> tuple[list[Line], list[int]]:
    """(the lines, the line that each finding starts on). `explanation` stands below the one under the cursor."""
    found = all_findings(frame)
    if not found:
        return _none(frame, width), []
    lines: list[Line] = []
    starts: list[int] = []
    for index, one in enumerate(found):
        if index:
            lines.append(())
        starts.append(len(lines))
        lines += finding_lines(one.finding, width, "▸ " if index == cursor else "  ")
        lines.append((Piece(left(f"    on {one.server_id}  {one.model}", width).rstrip(), "faint"),))
        if index == cursor and explanation:
            for paragraph in explanation.split("\n\n"):
                lines += [(), *((Piece(f"    {text}"),) for text in wrap(paragraph, max(width - 4, 8)))]
    return lines, starts


def _none(frame: Frame | None, width: int) -> list[Line]:
    servers = len(frame.servers) if frame is not None else 0
    if not servers:
        return [(Piece("There is no server to look at.", "strong"),)]
    looked = f"{servers} server{'' if servers == 1 else 's'} looked at"
    return [rule("Findings", width), (Piece(f"Nothing to report: {looked}.", "strong"),)]
