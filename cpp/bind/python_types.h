// The small Python types beside Tensor: dtype, device, Size, Generator; and conversions of plain Python values.
#pragma once

#include "bind/fast_call.h"

namespace fireseed::bind {

bool is_dtype(PyObject* o);
DType dtype_from(PyObject* o);
bool is_device_like(PyObject* o);  // a device, or a string / index that names one
Device device_from(PyObject* o);   // throws RuntimeError for what is not there
bool is_generator(PyObject* o);
Generator* generator_from(PyObject* o);
bool is_numpy_scalar(PyObject* o);  // also objects such as numpy.float64 that look like numbers
// Python bool/int/float, numpy scalars and 0-dim or one-element tensors. False where o is no number.
bool to_scalar(PyObject* o, Scalar& out);
bool to_int(PyObject* o, int64_t& out);

// The package's name in the texts of dtypes, sizes and Tensor.type(): "fireseed", or "torch" after as_torch().
extern const char* shown_name;

// Adds the types and their constants to the module.
void add_python_types(PyObject* module);
void add_tensor_type(PyObject* module);
void add_autograd(PyObject* module);
void add_function_support(PyObject* module);  // autograd.Function
void add_module_base(PyObject* module);       // the base of nn.Module

// Nested lists, numbers, arrays (buffer protocol) and tensors to a new tensor; dtype undefined = inferred.
Tensor tensor_from_data(PyObject* data, DType dtype, bool copy);
// Memory of an object with the buffer protocol (numpy arrays), shared.
Tensor tensor_from_buffer(PyObject* o, bool require_writable);
int tensor_getbuffer(PyObject* self, Py_buffer* view, int flags);
extern PyGetSetDef tensor_getset[];  // x.shape, x.grad, …
void tensor_releasebuffer(PyObject* self, Py_buffer* view);
PyObject* tensor_to_numpy(PyObject* self);
PyObject* tensor_to_list(const Tensor& x);

// x[index] and x[index] = value.
PyObject* tensor_subscript(PyObject* self, PyObject* index);
int tensor_ass_subscript(PyObject* self, PyObject* index, PyObject* value);

PyObject* out_of_memory_error();  // fireseed.OutOfMemoryError, borrowed

void resize_(const Tensor& x, const Dims& sizes);

}  // namespace fireseed::bind
