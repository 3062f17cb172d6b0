"""What stages agree on: settings, paths and one module per artifact."""
