"""The rented machine: standard library only, because it runs before anything is installed."""
