"""Writes ONNX models: the few protobuf messages they are made of (onnx.proto3, https://onnx.ai), without protobuf.

A message is a run of fields; a field is a key (number << 3 | wire type) and a varint (type 0), four bytes (5) or a
length and bytes (2): https://protobuf.dev/programming-guides/encoding.
"""
import struct

# TensorProto.DataType
DTYPES = {"float32": 1, "uint8": 2, "int8": 3, "int16": 5, "int32": 6, "int64": 7, "bool": 9, "float16": 10,
          "float64": 11, "bfloat16": 16}
# The version of the file format that came with an opset.
IR_VERSIONS = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


def _varint(n):
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def _int(field, n):
    return _varint(field << 3) + _varint(n)


def _bytes(field, data):
    data = data.encode() if isinstance(data, str) else data
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _float(field, x):
    return _varint(field << 3 | 5) + struct.pack("<f", x)


def attribute(name, value):
    """AttributeProto of an int, float, str, TensorProto (bytes), or a list of ints, floats or strs."""
    out = _bytes(1, name)
    if isinstance(value, bool) or isinstance(value, int):
        return out + _int(3, int(value)) + _int(20, 2)
    if isinstance(value, float):
        return out + _float(2, value) + _int(20, 1)
    if isinstance(value, str):
        return out + _bytes(4, value) + _int(20, 3)
    if isinstance(value, bytes):
        return out + _bytes(5, value) + _int(20, 4)
    value = list(value)
    if value and isinstance(value[0], str):
        return out + b"".join(_bytes(9, v) for v in value) + _int(20, 8)
    if any(isinstance(v, float) for v in value):
        return out + b"".join(_float(7, v) for v in value) + _int(20, 6)
    return out + b"".join(_int(8, v) for v in value) + _int(20, 7)


def tensor(name, dtype, shape, raw):
    """TensorProto of little-endian, row-major bytes."""
    return b"".join(_int(1, n) for n in shape) + _int(2, DTYPES[dtype]) + _bytes(8, name) + _bytes(9, raw)


def node(kind, inputs, outputs, name, attributes):
    """NodeProto; an absent input is an empty name."""
    return (b"".join(_bytes(1, i) for i in inputs) + b"".join(_bytes(2, o) for o in outputs) + _bytes(3, name)
            + _bytes(4, kind) + b"".join(_bytes(5, attribute(k, v)) for k, v in attributes.items()))


def value_info(name, dtype, shape):
    """ValueInfoProto of a tensor; an entry of shape is a size or the name of an unknown one."""
    dims = b"".join(_bytes(1, _bytes(2, n) if isinstance(n, str) else _int(1, n)) for n in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _int(1, DTYPES[dtype]) + _bytes(2, dims)))


def model(nodes, initializers, inputs, outputs, name, opset, producer_version):
    """ModelProto of parts that are messages already."""
    graph = (b"".join(_bytes(1, n) for n in nodes) + _bytes(2, name) + b"".join(_bytes(5, t) for t in initializers)
             + b"".join(_bytes(11, v) for v in inputs) + b"".join(_bytes(12, v) for v in outputs))
    return (_int(1, IR_VERSIONS[opset]) + _bytes(2, "fireseed") + _bytes(3, producer_version) + _bytes(7, graph)
            + _bytes(8, _bytes(1, "") + _int(2, opset)))
