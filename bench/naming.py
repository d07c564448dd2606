"""The name of a run, under which it keeps whatever it keeps on a server."""

import os
from typing import Final

#: Of this process, so that two runs at once do not share a database; its children inherit it.
RUN: Final = os.environ.setdefault("BENCH_RUN", f"circuits_bench_{os.getpid()}")
