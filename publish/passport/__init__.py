"""Content credentials, marking and tracing of published pictures."""
