"""The local page on which pictures are approved, rejected and compared."""
