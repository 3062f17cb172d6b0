"""What several stages do the same way: generate-and-score, train-from-manifest."""
