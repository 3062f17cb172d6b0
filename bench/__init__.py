"""Benchmarks against the peers: they need a running ComfyUI or another trainer, and are run by hand."""
