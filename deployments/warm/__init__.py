"""Runs that begin in milliseconds: a server has imported torch, Prefect and the flows, and forks a process for each run.

A worker of Prefect starts a program for each run. That program is `deployments.warm.run`: it has the server beside the worker fork a
process, passes signals on, and ends as that process ends. Without a server, or where the server does not fit (other variables of
the environment, code that has changed), it becomes Prefect's engine itself, as if there were no server.
"""
