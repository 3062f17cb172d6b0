"""Draws with ComfyUI servers: where the users already work."""
