"""The handle that register_hook returns."""


class EngineHandle:
    """remove() takes the hook away; also a context manager."""

    def __init__(self, owner, id, kind):
        import weakref
        self.id = id
        try:
            self._owner = weakref.ref(owner)
        except TypeError:
            self._owner = lambda: owner

    def remove(self):
        owner = self._owner()
        if owner is not None:
            owner._remove_hook(self.id)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.remove()
