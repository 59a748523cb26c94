#!/usr/bin/env bash
# benchmarks/oldest.sh [tests/FOLDER ...]
#
# Runs the tests with the oldest PyTorch and torchvision that pyproject.toml allows, in an environment of its own (.venv-oldest, several
# GB), and writes into tests/oldest.txt what passed. Without arguments, the tests of everything that computes; the rest does not meet torch.
# By hand, whenever a bound changes or a release is made. PYTHON chooses the interpreter; it stops at the first failure of a command.
set -euo pipefail
cd "$(dirname "$0")/.."

place=.venv-oldest
tests=("$@")
if [ ${#tests[@]} -eq 0 ]; then
    tests=(tests/{augment,causal,data,decode,distill,evaluate,exchange,experts,matching,nets,pruning,report,scoring,storage})
fi

[ -x "$place/bin/python" ] || "${PYTHON:-python3}" -m venv "$place"
"${PYTHON:-python3}" -m benchmarks.oldest constraints > "$place/constraints.txt"
"$place/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint "$place/constraints.txt"
"$place/bin/python" -m pytest -q "${tests[@]}" | tee "$place/log.txt"
"$place/bin/python" -m benchmarks.oldest record "$(tail -n 1 "$place/log.txt")" "${tests[@]}"
cat tests/oldest.txt
