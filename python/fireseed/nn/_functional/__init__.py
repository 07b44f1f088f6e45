"""The parts of nn.functional that are composed in Python, by subject."""
