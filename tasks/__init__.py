"""Prefect tasks, one module per stage: retries, progress and artifacts around the functions of bilp; URIs in, URIs out."""
