"""The explorer: a web page that opens what the command line can do to people who look rather than type."""
