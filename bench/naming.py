"""The name of a run, which its databases and keys on the servers carry."""

import os
from typing import Final

#: Contains the process id, so that two runs at once share nothing; child processes inherit it.
RUN: Final = os.environ.setdefault("BENCH_RUN", f"circuits_bench_{os.getpid()}")
