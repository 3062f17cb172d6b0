"""Pistachio: reproducible identity LoRAs on SDXL. A module directly in this package is a stage of dvc.yaml."""
