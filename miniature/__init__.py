"""A miniature world of procedurally drawn cartoon faces: who they are, how each photo differs, and the photos."""
