"""From the bytes of a capture to a report: no clock, no printing, no network, and nothing of `lab/`."""

import os

# Nothing here multiplies matrices. Idle threads of numpy's OpenBLAS would only take signals from the main thread.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
