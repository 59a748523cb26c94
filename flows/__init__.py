"""Prefect flows: nothing but composition, one module per stage, and `flows.pipeline` for all of them."""

import os

# Must be set before torch is imported. Threads that spin while they wait for each other make a small network up to
# twenty times slower as soon as anything else runs on the machine; sleeping threads cost nothing measurable.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from flows import beginning

beginning.settle()
