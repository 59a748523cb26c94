"""Prefect tasks, one module per stage: retries, progress and artifacts around the functions of bilp; URIs in, URIs out.

Tasks import the functions that they call when they run: these need torch, and a command that only prints its help, or a server
that lists flows, should not wait for it.
"""

import logging

from bilp.text.escaping import OneLine

# Tasks log under this name, to terminals of workers too; what they quote is anybody's text.
logging.getLogger("prefect.tasks").addFilter(OneLine())
