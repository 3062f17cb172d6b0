"""Benchmarks against the peers, brought beside the project and run by hand: `python -m bench`, `make bench`."""
