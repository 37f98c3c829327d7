"""What the What-if and Frontier screens ask of a session that plans. A command hands one to the app."""

from typing import Protocol

from kvtop.domain.answers.frontier import Frontier
from kvtop.domain.answers.recommendation import Recommendations
from kvtop.domain.answers.what_if import WhatIfAnswer


class SupportsWhatIf(Protocol):
    """Keeps one what-if a server. A str instead of an answer says why there is none."""

    def ask(self, server_id: str) -> WhatIfAnswer | str:
        """The what-if of this server as it stands."""

    def turn(self, server_id: str, knob: str, step: int) -> bool:
        """Turn a knob. False: this engine has no such knob, or it is at its end."""

    def reset(self, server_id: str) -> None:
        """Back to how the server runs."""

    def frontier(self, server_id: str) -> Frontier | str:
        """The grid around how the server runs."""

    def adopt(self, server_id: str, row: int, column: int) -> bool:
        """Make a cell of the grid the what-if. False where it has no configuration."""

    def recommend(self, server_id: str) -> Recommendations | str:
        """Configurations worth trying."""
