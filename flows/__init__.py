"""Prefect flows: nothing but composition, one module per stage, and `flows.pipeline` for all of them.

What holds for a whole process is settled here, because every program imports this package first: before Prefect, which starts
threads, and before torch.
"""

import os

from bilp.allocator import keep_freed_memory

# Must be set before torch is imported. Threads that spin while they wait for each other make a small network up to
# twenty times slower as soon as anything else runs on the machine; sleeping threads cost nothing measurable.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Prefect's client tells its makers of its use, and says so on the first terminal that it meets: both only if somebody asks for it.
os.environ.setdefault("DO_NOT_TRACK", "1")

# Must be settled before there are threads. A run that a worker starts has it from its environment (deployments/prefect.yaml).
keep_freed_memory()

# Prefect asks for no leave to report usage.
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")

from flows import beginning  # noqa: E402
from flows.server import file_permissions, installation  # noqa: E402

beginning.settle()
file_permissions.settle(os.environ)
installation.enter(os.environ)
