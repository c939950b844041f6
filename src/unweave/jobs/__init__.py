"""The jobs behind the commands: a config in, files read and written, the library called in between."""
