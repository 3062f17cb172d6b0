"""Pure functions on arrays: identity, skin, adherence, bootstrap, verdicts."""
