"""How far the clocks may be trusted that circuits go by."""

from __future__ import annotations

from typing import Final

#: Seconds by which the clocks of a database server and its standby may differ. A time further in
#: the future was written before a clock was set back.
CLOCK_SKEW: Final = 1.0
