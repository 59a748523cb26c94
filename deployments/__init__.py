"""How the flows run for real: a server, work pools with their workers, deployments with schedules, a cluster's manifests."""

import flows  # noqa: F401  # settles how threads wait and how programs end, before anything heavy is imported
