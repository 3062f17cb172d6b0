"""What every program needs: errors, atomic files, stage entry, progress, seeds, provenance."""
