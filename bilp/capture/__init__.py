"""Steps over fixed tensors as CUDA graphs: what changes from call to call is drawn ahead and travels in one copy.

`CapturedStep` is the step, `Inputs` the tensors that the host fills for each call, `Ahead` the thread that fills them.
"""

from bilp.capture.ahead import Ahead
from bilp.capture.captured_step import CapturedStep, GraphMemory
from bilp.capture.inputs import Field, Inputs

__all__ = ["Ahead", "CapturedStep", "Field", "GraphMemory", "Inputs"]
