"""How the flows run for real: a server, work pools with their workers, deployments with schedules, a cluster's manifests."""
