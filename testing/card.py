"""What the kit found: one finding a rule, and the card of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from sidestep.fleet.labels import Label, scrub


class Verdict(StrEnum):
    """How a rule came out."""

    HOLDS = "holds"
    BROKEN = "broken"
    #: the backend does not declare what the rule is about
    NOT_APPLICABLE = "n/a"
    #: this machine cannot do what the rule needs; somebody has to run it where it can
    NOT_CHECKED = "NOT CHECKED"


_GLYPHS = {Verdict.HOLDS: "✓", Verdict.BROKEN: "✗", Verdict.NOT_APPLICABLE: "–", Verdict.NOT_CHECKED: "?"}


class Finding(Struct, frozen=True, kw_only=True):
    """One rule, how it came out, and what was seen where it does not hold."""

    rule: str
    says: str
    verdict: Verdict
    detail: Label = Label("")
    seconds: float = 0.0


class ReportCard(Struct, frozen=True, kw_only=True):
    """All findings about one backend, in the order of the rules."""

    backend: Label
    subject: Label
    capabilities: tuple[Label, ...]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether no rule is broken; one that was not checked is not broken, and is told."""
        return not self.broken

    @property
    def broken(self) -> tuple[str, ...]:
        """The rules that are broken."""
        return tuple(finding.rule for finding in self.findings if finding.verdict is Verdict.BROKEN)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The rules that could not be tried here."""
        return tuple(finding.rule for finding in self.findings if finding.verdict is Verdict.NOT_CHECKED)

    def text(self) -> str:
        """The card as lines of plain text."""
        head = f"{self.backend} ({self.subject}): {', '.join(self.capabilities) or 'declares nothing'}"
        return "\n".join([head, *self._lines(), self._sum()])

    def _lines(self) -> Iterable[str]:
        for finding in self.findings:
            told = f": {finding.detail}" if finding.detail else ""
            yield f"  {_GLYPHS[finding.verdict]} {finding.verdict:<11} {finding.rule:<18} {finding.says}{told}"

    def _sum(self) -> str:
        counts = {verdict: sum(f.verdict is verdict for f in self.findings) for verdict in Verdict}
        return "  " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)


def finding(rule: str, says: str, verdict: Verdict, detail: str, seconds: float) -> Finding:
    """A finding whose detail may come from anywhere."""
    return Finding(rule=rule, says=says, verdict=verdict, detail=scrub(detail, 600), seconds=seconds)
