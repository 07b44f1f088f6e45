"""map_location: where the tensors of a file go, by PyTorch's rules."""
from .. import _C


class LoadedStorage:
    """What a map_location function gets: a storage on the CPU, which it may move."""

    def __init__(self, flat):
        self._flat = flat

    @property
    def device(self):
        """Where the storage is."""
        return self._flat.device

    def cpu(self):
        """The storage on the CPU."""
        return LoadedStorage(self._flat.cpu())

    def cuda(self, device=None):
        """The storage on a GPU, the first by default."""
        return LoadedStorage(self._flat.to("cuda" if device is None else f"cuda:{device}"
                                           if isinstance(device, int) else device))

    def to(self, device):
        """The storage on a device."""
        return LoadedStorage(self._flat.to(device))

    def nbytes(self):
        """Its size in bytes."""
        return self._flat.numel() * self._flat.element_size()


class PlacingError(Exception):
    """Carries an `error` of a device or of a map_location function past those of the file."""

    def __init__(self, error):
        super().__init__(str(error))
        self.error = error


class Placer:
    """place(flat, location): a loaded CPU tensor on the device that map_location says for a location tag.

    map_location: None (where it was saved from; the CPU where there is no such GPU), a device, a dict from tags to
    tags, or a function (storage, tag) -> storage or None.
    """

    def __init__(self, map_location):
        if isinstance(map_location, int) and not isinstance(map_location, bool):
            map_location = _C.device(f"cuda:{map_location}")
        if isinstance(map_location, str):
            map_location = _C.device(map_location)
        if map_location is not None and not callable(map_location) and not isinstance(map_location, (dict, _C.device)):
            raise TypeError("load: map_location must be None, a device, a dict of device tags or a function, got a "
                            f"{type(map_location).__name__}")
        self.rule = map_location

    def place(self, flat, location):
        """See the class. PlacingError: it cannot be there."""
        try:
            return self._place(flat, location)
        except Exception as error:
            raise PlacingError(error) from error

    def _place(self, flat, location):
        rule = self.rule
        if isinstance(rule, _C.device):
            return flat if rule.type == "cpu" else flat.to(rule)
        if isinstance(rule, dict):
            location = str(rule.get(location, location))
        elif rule is not None:
            result = rule(LoadedStorage(flat), location)
            if isinstance(result, LoadedStorage):
                return result._flat
            if result is not None:
                return result
        if location.startswith("cuda"):
            from .. import cuda
            if cuda.is_available():
                index = location.partition(":")[2] or "0"
                return flat.to(location if int(index) < cuda.device_count() else "cuda:0")
        return flat
