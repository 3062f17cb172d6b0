"""Numbers into markdown, montages and plots."""
