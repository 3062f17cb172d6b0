"""The programs of this room, one module each."""
