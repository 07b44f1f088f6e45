"""Fills modules such as fireseed.linalg from the engine's tables."""


def fill(namespace, table):
    """Copies the public functions of an engine table into a module's globals."""
    for name, value in vars(table).items():
        if not name.startswith("__"):
            namespace[name] = value
