"""Steps over fixed tensors as CUDA graphs: what changes from call to call is drawn ahead and travels in one copy.

`CapturedStep` is the step, `Inputs` the tensors that the host fills for each call, `Ahead` the thread that fills them; `to_device` is for
what has no fixed shape.
"""

from bilp.capture.ahead import Ahead
from bilp.capture.captured_step import CapturedStep, GraphMemory
from bilp.capture.input_buffers import Field, Inputs
from bilp.capture.transfer import to_device

__all__ = ["Ahead", "CapturedStep", "Field", "GraphMemory", "Inputs", "to_device"]
