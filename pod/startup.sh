#!/usr/bin/env bash
# The pod's post-start hook: everything as pinned, ComfyUI running, READY.  Arguments go to `python -m pod startup`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-python3.11}
if ! command -v "$python" >/dev/null; then
  echo "error: $python not found; install Python 3.11 or set PYTHON" >&2
  exit 2
fi
mkdir -p logs/pod
"$python" -m pod startup "$@" 2>&1 | tee -a logs/pod/post_start.log
