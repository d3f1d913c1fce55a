"""One table of options, read by pytest and by ``w2v``."""
