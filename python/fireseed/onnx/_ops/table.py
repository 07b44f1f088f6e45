"""The table of conversions."""

CONVERSIONS = {}


def conversion(*names):
    """Puts a function of a Call into the table under these names of ops."""
    def put(function):
        for name in names:
            CONVERSIONS[name] = function
        return function
    return put
