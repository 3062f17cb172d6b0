"""The rented machine: standard library only, because it runs before anything is installed."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any line that an older one cannot read
    print(f"error: {sys.executable} is Python {sys.version.split()[0]}; say python3.11 -m pod", file=sys.stderr)
    raise SystemExit(2)
