"""Groups of commands of `pistachio`; what is one command alone stands in stages/__main__.py."""
