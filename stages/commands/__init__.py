"""Groups of `pistachio` commands; each is imported by stages/__main__.py and imports what it does when it is called."""
