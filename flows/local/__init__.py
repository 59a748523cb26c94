"""Flows where no Prefect server is configured: a private one for the process."""
