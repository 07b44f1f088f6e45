// The table of bound functions and methods, and the Python objects that call them.
#pragma once

#include "bind/function.h"
#include "engine/node.h"

namespace fireseed::bind {

// By name; abort where there is none (operators need them at load).
const Function& function(const char* name);
const Function& method(const char* name);
// Puts all defined functions on the module, its submodules' namespaces and the Tensor type.
void publish(PyObject* module);
void link_operators();

void set_requires_grad(const Tensor& t, bool on);
PyObject* wrap_node(Node* n);  // new reference: the Python face of a node

}  // namespace fireseed::bind
