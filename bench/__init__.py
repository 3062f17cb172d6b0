"""Benchmarks against the peers: they need what no test has, a running ComfyUI or another trainer, and are run by hand."""
