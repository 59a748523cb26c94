"""python -m benchmarks.gpu --out gpu-results

What to ask a GPU in eight minutes, in order of value. Each part has a budget of seconds, after which it begins no further row, fails alone
and prints a short table; all figures go to `gpu.json` below `--out` after every part. `--parts agree,steps` runs some of them.
`--rehearse` runs them on the CPU with tiny sizes, which shows that they still fit the program and measures nothing.

`python -m benchmarks.gpu.records gpu-results/gpu.json` turns them into a section of `benchmarks/records.md`, with what should be reached.

It needs a checkout with torch, pydantic and pydantic-settings: neither Prefect nor s3fs.
"""
