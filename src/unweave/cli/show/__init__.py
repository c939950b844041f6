"""Results on the terminal: one file a command or a group of them, each function of the config and the result."""
