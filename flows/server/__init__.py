"""Prefect servers: those that were configured, and those that start here."""
