"""Whether a lost connection is made again, and when."""

from typing import Optional

from .errors import HermesError
from .options import Settings

#: After these there is no sense in trying again.
_FINAL_CODES = ("UNAUTHORIZED", "VERSION_MISMATCH")
#: How often in a row one side may find fault with what the other one says.
_MOST_FAULTS = 3
#: A connection that has lasted so long, in seconds, was a good one.
_STABLE = 1.0


class Reconnection:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        #: How many attempts were made in a row.
        self.attempt = 0
        self._faults = 0

    def fault(self) -> None:
        """One side has said something that the other one does not take."""
        self._faults += 1

    def lost(self, lasted: float) -> None:
        """A connection was lost ``lasted`` seconds after the broker's WELCOME; 0 if that never came."""
        # One that is lost again at once counts as a failed attempt.
        if lasted > _STABLE:
            self.attempt = 0
            self._faults = 0

    def is_over(self, cause: Optional[BaseException]) -> bool:
        """Whether no further attempt makes sense, or none is wanted."""
        # Bytes may be damaged on the way; but a client that is refused again and again sends something wrong, and would for ever.
        final = self._faults >= _MOST_FAULTS or (isinstance(cause, HermesError) and cause.code in _FINAL_CODES)
        return final or self._settings.reconnect_min is None

    def next_delay(self) -> float:
        """Seconds until the next attempt, which is counted here."""
        settings = self._settings
        ceiling = min(settings.reconnect_max, (settings.reconnect_min or 0) * 2.0 ** min(self.attempt, 20))
        self.attempt += 1
        # At least half of it, so that clients do not retry too often; the rest at random, so that they do not all reconnect at once.
        return ceiling * (0.5 + settings.random() / 2)
