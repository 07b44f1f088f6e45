"""Tensors from what tables come in: pandas data frames and series, numpy arrays, lists."""
from .... import _C


def column(value, name, dtype):
    """A tensor with value's rows. A tensor is itself; anything else becomes one, floating numbers of the given dtype.

    TypeError where value holds anything but numbers and truth values; name: what errors call it.
    """
    if isinstance(value, _C.Tensor):
        return value
    if hasattr(value, "toarray"):
        raise TypeError(f"{name} is a sparse matrix ({type(value).__name__}): give its .toarray()")
    if hasattr(value, "iloc") and hasattr(value, "to_numpy"):
        value = _from_pandas(value, name)
    elif hasattr(value, "to_numpy"):  # other data frames
        value = value.to_numpy()
    elif isinstance(value, range):
        value = list(value)
    if hasattr(value, "__array__") and hasattr(value, "dtype"):
        if value.dtype.kind not in "fiub":
            raise TypeError(f"{name} is an array of {value.dtype}: numbers are needed. Class names become numbers with "
                            "numpy.unique(names, return_inverse=True)[1]")
        tensor = _C.tensor(_native(value))
    elif isinstance(value, (list, tuple)):
        try:
            tensor = _C.tensor(value)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} is a {type(value).__name__} that is no table of numbers: {error}") from error
    else:
        raise TypeError(f"{name}: expected a tensor, an array, a data frame, a series or a list, got a "
                        f"{type(value).__name__}")
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _native(array):
    """An array whose memory a tensor can be made of: native byte order, dense, a dtype that tensors have."""
    import numpy

    array = numpy.asarray(array)
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(numpy.int64)
    elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(numpy.float64)
    return numpy.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _from_pandas(frame, name):
    """A data frame's or series' numbers as an array; missing ones are NaN."""
    dtypes = dict(frame.dtypes) if frame.ndim == 2 else {frame.name: frame.dtype}
    bad = [f"{label!r} ({dtype})" for label, dtype in dtypes.items() if getattr(dtype, "kind", "O") not in "fiub"]
    if bad:
        raise TypeError(f"{name} has columns without numbers: {', '.join(bad)}. Leave them out, or make numbers of them: "
                        "pandas.get_dummies(frame) or frame[column].astype('category').cat.codes")
    kinds = {dtype.kind for dtype in dtypes.values()}
    missing = frame.isna().to_numpy().any()
    if "f" in kinds or missing:
        return frame.to_numpy(dtype="float64", na_value=float("nan"))
    return frame.to_numpy(dtype="bool" if kinds == {"b"} else "int64")
