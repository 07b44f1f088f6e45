// What a DataLoader does for every batch: gathers rows of tensors in memory, reads samples under keyed random
// streams.
#include <algorithm>
#include <cstring>
#include <iterator>
#include <memory>
#include <utility>

#include "base/parallel.h"
#include "bind/gil.h"
#include "bind/python_types.h"
#include "math/random.h"
#include "ops/copy.h"
#include "ops/creation.h"
#include "ops/index.h"
#include "ops/shape.h"

namespace fireseed::bind {
namespace {

// Note [Keyed samples]
// A sample's random numbers depend on the seed of the pass and the sample's index alone, not on the thread or process
// that reads it. While a thread reads it, a Streams object is the thread's innermost: the default generator of
// fireseed is its `generator`, and the module-level functions of `random` and `numpy.random` (wrapped by
// utils/data/_utils/streams.py) ask for its `objects`. All are seeded at the first draw, so that samples which draw
// nothing pay nothing. The 32-bit seeds of fireseed (low half of the key) and numpy (high half) differ, as equal
// seeds would give equal words.
enum Slot { kRandom, kNumpy, kSlots };

struct Streams {
  explicit Streams(uint64_t key) : outer(innermost), outer_generator(keyed_generator) {
    set_key(key);
    innermost = this;
    keyed_generator = &generator;
  }
  ~Streams();
  Streams(const Streams&) = delete;

  void set_key(uint64_t key) {
    generator.key = key;
    generator.seeded = false;
    for (bool& s : seeded) s = false;
  }
  PyObject* get(int slot);  // borrowed; null with a Python error set

  static thread_local Streams* innermost;
  Streams* outer;
  KeyedGenerator* outer_generator;
  KeyedGenerator generator;
  PyObject* objects[kSlots] = {};
  bool seeded[kSlots] = {};
};
thread_local Streams* Streams::innermost = nullptr;

PyObject* factories[kSlots];            // what makes a stream of each kind
std::vector<PyObject*> unused[kSlots];  // streams made before; the GIL guards them

Streams::~Streams() {
  innermost = outer;
  keyed_generator = outer_generator;
  for (int i = 0; i < kSlots; ++i)
    if (objects[i]) unused[i].push_back(objects[i]);
}

PyObject* Streams::get(int slot) {
  PyObject*& object = objects[slot];
  if (!object && !unused[slot].empty()) {
    object = unused[slot].back();
    unused[slot].pop_back();
  }
  if (!object) object = PyObject_CallNoArgs(factories[slot]);
  if (object && !seeded[slot]) {
    const uint64_t key = generator.key;
    PyObject* done =
        PyObject_CallMethod(object, "seed", "K", static_cast<unsigned long long>(slot == kNumpy ? key >> 32 : key));
    if (!done) return nullptr;
    Py_DECREF(done);
    seeded[slot] = true;
  }
  return object;
}

// The key of a sample: splitmix64's finaliser (Steele, Lea and Flood 2014) of the seed advanced by the index.
uint64_t sample_key(uint64_t seed, uint64_t index) {
  uint64_t z = seed + 0x9e3779b97f4a7c15u * (index + 1);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

uint64_t word(Args& a, int i) {
  const unsigned long long v = PyLong_AsUnsignedLongLongMask(a.object(i));
  if (v == static_cast<unsigned long long>(-1) && PyErr_Occurred()) throw PythonError{};
  return v;
}

// Appends dataset[i] for every i of indices to out, so that out's length tells how far it came where one fails.
// words: numbers to make keys of in place of the indices, or null.
void read_samples(PyObject* dataset, PyObject* indices, PyObject* out, Streams* streams, uint64_t seed,
                  PyObject* words) {
  PyObject* fast = PySequence_Fast(indices, "DataLoader: a batch of indices must be a sequence");
  if (!fast) throw PythonError{};
  bool failed = false;
  for (Py_ssize_t i = 0; !failed && i < PySequence_Fast_GET_SIZE(fast); ++i) {
    PyObject* index = PySequence_Fast_GET_ITEM(fast, i);
    if (streams) {
      PyObject* number = words ? PyList_GetItem(words, i) : index;
      streams->set_key(sample_key(seed, number ? PyLong_AsUnsignedLongLongMask(number) : 0));
      failed = PyErr_Occurred() != nullptr;
    }
    Py_INCREF(index);  // the data set may change the list
    PyObject* sample = failed ? nullptr : PyObject_GetItem(dataset, index);
    failed = !sample || PyList_Append(out, sample) < 0;
    Py_XDECREF(sample);
    Py_DECREF(index);
  }
  Py_DECREF(fast);
  if (failed) throw PythonError{};
}

// --- Rows of tensors in memory ------------------------------------------------------------------------------------

struct Part {  // rows [start, start + rows) of a column
  Tensor tensor;
  int64_t start, rows, stride, numel;

  // Whether the tensor still has the memory that it had when the pass began: resize_ and the like change it.
  bool intact() const {
    const TensorImpl* t = tensor.impl();
    return t->ndim > 0 && t->sizes[0] == rows && t->strides[0] == stride && tensor.numel() == numel;
  }
};

// One tensor of a data set, or several with rows of one shape, one after the other.
struct Column {
  std::vector<Part> parts;
  Dims row;
  size_t row_bytes = 0;
  bool dense = true;  // every row is contiguous
};

// Rows [start, next part's start) lie at base + i * step.
struct Run {
  int64_t start;
  const char* base;
  int64_t step;
};

// Where row i lies; kMany: there are several runs.
template <bool kMany>
const char* row_at(const Run* runs, size_t count, int64_t i) {
  size_t k = 0;
  if (kMany && count <= 8)  // without branches, which would be guessed wrong half the time
    for (size_t j = 1; j < count; ++j) k += static_cast<size_t>(i >= runs[j].start);
  else if (kMany)
    k = static_cast<size_t>(
        std::upper_bound(runs, runs + count, i, [](int64_t v, const Run& q) { return v < q.start; }) - runs - 1);
  return runs[k].base + i * runs[k].step;
}

// Rows order[begin, end) into out, or rows first + begin … where order is null; kBytes: of a row, 0 for row_bytes.
template <bool kMany, size_t kBytes>
void copy_rows(const std::vector<Run>& runs, size_t row_bytes, const int64_t* order, int64_t first, int64_t begin,
               int64_t end, char* out) {
  constexpr int64_t kBlock = 8;  // rows that are fetched before they are copied, as the order is random
  const size_t bytes = kBytes ? kBytes : row_bytes;
  for (int64_t i = begin; i < end; i += kBlock) {
    const int64_t n = std::min(kBlock, end - i);
    const char* rows[kBlock];
    for (int64_t k = 0; k < n; ++k) {
      rows[k] = row_at<kMany>(runs.data(), runs.size(), order ? order[i + k] : first + i + k);
      if (!kBytes && order)
        for (size_t b = 0; b < std::min<size_t>(bytes, 1024); b += 64) __builtin_prefetch(rows[k] + b);
    }
    for (int64_t k = 0; k < n; ++k) std::memcpy(out + static_cast<size_t>(i + k) * bytes, rows[k], bytes);
  }
}

// Rows order[begin, end) of a column, or rows begin … end - 1 where there is no order.
Tensor gather_rows(const Column& c, const Tensor& order, int64_t begin, int64_t end) {
  const int64_t n = end - begin;
  Dims sizes;
  sizes.push_back(n);
  for (int64_t s : c.row) sizes.push_back(s);
  std::vector<Run> runs;
  runs.reserve(c.parts.size());
  for (const Part& p : c.parts) {
    FS_CHECK(p.intact(), "DataLoader: a tensor of the data set was resized during the pass");
    const int64_t step = p.stride * static_cast<int64_t>(p.tensor.itemsize());
    runs.push_back({p.start, p.tensor.impl()->data - p.start * step, step});
  }
  if (!c.dense) {  // one part
    const Tensor index = order.defined() ? slice(order, 0, begin, end, 1) : arange(begin, end, 1, DType::kInt64);
    return index_select(c.parts[0].tensor, 0, index);
  }
  Tensor out = empty(sizes, c.parts[0].tensor.dtype());
  const int64_t* at = order.defined() ? reinterpret_cast<const int64_t*>(order.impl()->data) + begin : nullptr;
  char* to = out.impl()->data;
  const size_t bytes = c.row_bytes;
  const bool many = runs.size() > 1;
  auto* copy = bytes == 4   ? (many ? copy_rows<true, 4> : copy_rows<false, 4>)
               : bytes == 8 ? (many ? copy_rows<true, 8> : copy_rows<false, 8>)
                            : (many ? copy_rows<true, 0> : copy_rows<false, 0>);
  const int64_t chunk = std::max<int64_t>(1, static_cast<int64_t>((size_t{1} << 16) / std::max<size_t>(1, bytes)));
  auto all = [&] { parallel_for(n, chunk, [&](int64_t b, int64_t e) { copy(runs, bytes, at, begin, b, e, to); }); };
  if (static_cast<size_t>(n) * bytes >= size_t{1} << 18) without_gil(all);
  else all();
  return out;
}

struct PyGather {
  PyObject_HEAD std::vector<Column>* columns;
  Tensor* order;                        // undefined: in sequence
  PyObject *begin, *finish;             // called before the first batch (returns the order) and after the last
  int64_t rows, batch, stop, position;  // stop: rows to give out, position: the first row of the next batch
  bool done;                            // the end was said
};
PyTypeObject* gather_type;

void gather_dealloc(PyObject* self) {
  auto* g = reinterpret_cast<PyGather*>(self);
  delete g->columns;
  delete g->order;
  Py_XDECREF(g->begin);
  Py_XDECREF(g->finish);
  PyTypeObject* t = Py_TYPE(self);
  t->tp_free(self);
  Py_DECREF(t);
}

// Calls a function that is called once, and forgets it; new reference to its result.
PyObject* call_once(PyObject*& function) {
  PyObject* f = std::exchange(function, nullptr);
  PyObject* r = PyObject_CallNoArgs(f);
  Py_DECREF(f);
  if (!r) throw PythonError{};
  return r;
}

// The order of the rows, from `begin`; checked, as rows are then copied unchecked.
void set_order(PyGather* g) {
  const int64_t stop = std::exchange(g->stop, 0);  // nothing more where this fails
  PyObject* r = call_once(g->begin);
  const Tensor* t = as_tensor(r);
  Tensor order = t ? contiguous(as_index(*t, "DataLoader")) : Tensor();
  Py_DECREF(r);
  FS_CHECK_TYPE(order.defined() && order.numel() == g->rows, "DataLoader: expected ", g->rows, " indices");
  const Part& last = (*g->columns)[0].parts.back();
  const int64_t have = last.start + last.rows;
  const auto* at = reinterpret_cast<const int64_t*>(order.impl()->data);
  for (int64_t i = 0; i < g->rows; ++i)
    FS_CHECK_KIND(at[i] >= 0 && at[i] < have, ErrorKind::kIndex, "DataLoader: index ", at[i],
                  " is out of range for a data set of ", have, " samples");
  *g->order = std::move(order);
  g->stop = stop;
}

PyObject* gather_next(PyObject* self) {
  auto* g = reinterpret_cast<PyGather*>(self);
  return guarded([&]() -> PyObject* {
    if (g->begin) set_order(g);
    const int64_t begin = g->position, end = std::min(begin + g->batch, g->rows);
    if (begin >= g->stop) {
      g->done = true;
      if (g->finish) Py_DECREF(call_once(g->finish));
      return nullptr;
    }
    PyObject* list = PyList_New(static_cast<Py_ssize_t>(g->columns->size()));
    if (!list) return nullptr;
    try {
      for (size_t i = 0; i < g->columns->size(); ++i)
        PyList_SET_ITEM(list, static_cast<Py_ssize_t>(i), wrap(gather_rows((*g->columns)[i], *g->order, begin, end)));
    } catch (...) {
      Py_DECREF(list);
      throw;
    }
    g->position = end;
    return list;
  });
}

PyObject* gather_position(PyObject* self, void*) {
  const auto* g = reinterpret_cast<PyGather*>(self);
  return PyLong_FromLongLong((g->position + g->batch - 1) / g->batch);
}
int gather_set_position(PyObject* self, PyObject* value, void*) {
  auto* g = reinterpret_cast<PyGather*>(self);
  const long long v = value ? PyLong_AsLongLong(value) : -1;
  if (v < 0) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "position: expected a number of batches");
    return -1;
  }
  g->position = v >= (g->rows + g->batch - 1) / g->batch ? g->rows : v * g->batch;
  return 0;
}
PyObject* gather_done(PyObject* self, void*) { return PyBool_FromLong(reinterpret_cast<PyGather*>(self)->done); }
PyGetSetDef gather_getset[] = {
    {"done", gather_done, nullptr, "Whether the end was reached.", nullptr},

    {"position", gather_position, gather_set_position, "Batches given out so far.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyType_Slot gather_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(gather_dealloc)},
                              {Py_tp_iter, reinterpret_cast<void*>(PyObject_SelfIter)},
                              {Py_tp_iternext, reinterpret_cast<void*>(gather_next)},
                              {Py_tp_getset, gather_getset},
                              {0, nullptr}};
PyType_Spec gather_spec = {"fireseed._C._Gather", sizeof(PyGather), 0,
                           Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, gather_slots};

Column column_of(const std::vector<Tensor>& parts) {
  Column c;
  int64_t start = 0;
  for (const Tensor& t : parts) {
    FS_CHECK(t.dim() > 0 && t.dtype() == parts[0].dtype(), "_gather: parts of one dtype with rows expected");
    if (t.size(0) == 0 && parts.size() > 1) continue;
    const Dims row(t.sizes().begin() + 1, t.dim() - 1);
    int64_t run = 1;
    for (int64_t d = t.dim() - 1; d > 0; run *= t.size(d--)) c.dense &= t.size(d) == 1 || t.stride(d) == run;
    FS_CHECK(c.parts.empty() || row == c.row, "_gather: rows of one shape expected");
    c.row = row;
    c.parts.push_back({t, start, t.size(0), t.stride(0), t.numel()});
    start += t.size(0);
  }
  FS_CHECK(!c.parts.empty() && (c.dense || c.parts.size() == 1), "_gather: parts with contiguous rows expected");
  c.row_bytes = parts[0].itemsize();
  for (int64_t s : c.row) c.row_bytes *= static_cast<size_t>(s);
  return c;
}

PyObject* make_gather(PyObject* columns, PyObject* begin, PyObject* finish, int64_t rows, int64_t batch,
                      bool drop_last) {
  if (!gather_type) {
    gather_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&gather_spec));
    if (!gather_type) throw PythonError{};
  }
  auto made = std::make_unique<std::vector<Column>>();
  for (Py_ssize_t i = 0; i < PyList_Size(columns); ++i) {
    PyObject* list = PyList_GET_ITEM(columns, i);
    std::vector<Tensor> parts;
    for (Py_ssize_t j = 0; j < PyList_Size(list); ++j) parts.push_back(*as_tensor(PyList_GET_ITEM(list, j)));
    made->push_back(column_of(parts));
    const Part& last = made->back().parts.back();
    const Part& first = (*made)[0].parts.back();
    FS_CHECK(last.start + last.rows == first.start + first.rows && (begin || rows <= last.start + last.rows),
             "_gather: columns of at least ", rows, " rows expected");
  }
  PyObject* self = gather_type->tp_alloc(gather_type, 0);
  if (!self) throw PythonError{};
  auto* g = reinterpret_cast<PyGather*>(self);
  g->columns = made.release();
  g->order = new Tensor();
  Py_XINCREF(g->begin = begin);
  Py_XINCREF(g->finish = finish);
  g->rows = rows;
  g->batch = batch;
  g->stop = drop_last ? rows - rows % batch : rows;
  return self;
}

}  // namespace

FS_BINDINGS(data_loader) {
  def(
      "_gather(object columns, object begin, object finish, int rows, int batch, bool drop_last)", kPrivate,
      [](Args& a) -> PyObject* {
        return make_gather(a.object(0), a.given(1) ? a.object(1) : nullptr, a.given(2) ? a.object(2) : nullptr,
                           a.i64(3), a.i64(4), a.boolean(5));
      },
      "An iterator over lists of tensors: batches of rows of the columns, each a list of tensors one after the "
      "other. "
      "begin: a function that gives the order of the rows (None: as they come); finish: called at the end.");
  def(
      "_int64s(object sequence)", kPrivate,
      [](Args& a) -> PyObject* {
        PyObject* list = a.object(0);
        if (!PyList_CheckExact(list)) Py_RETURN_NONE;
        const Py_ssize_t n = PyList_GET_SIZE(list);
        Tensor out = empty(Dims{static_cast<int64_t>(n)}, DType::kInt64);
        auto* to = reinterpret_cast<int64_t*>(out.impl()->data);
        for (Py_ssize_t i = 0; i < n; ++i) {
          PyObject* item = PyList_GET_ITEM(list, i);
          int overflow = 0;
          if (!PyLong_CheckExact(item)) Py_RETURN_NONE;
          to[i] = PyLong_AsLongLongAndOverflow(item, &overflow);
          if (overflow) Py_RETURN_NONE;
        }
        return wrap(out);
      },
      "A list of ints as an int64 tensor; None where it is anything else.");
  def(
      "_read_samples(object dataset, object indices, object out, object seed, object words)", kPrivate,
      [](Args& a) {
        if (!a.given(3)) return read_samples(a.object(0), a.object(1), a.object(2), nullptr, 0, nullptr);
        Streams streams(0);
        read_samples(a.object(0), a.object(1), a.object(2), &streams, word(a, 3), a.given(4) ? a.object(4) : nullptr);
      },
      "Appends dataset[i] to the list out for every index. seed: that of the samples' random streams, or None; "
      "words: "
      "a list of numbers that stand for the indices in the streams' keys, or None.");
  def(
      "_sample_key(object seed, object index)", kPrivate,
      [](Args& a) -> PyObject* { return PyLong_FromUnsignedLongLong(sample_key(word(a, 0), word(a, 1))); },
      "The key of the random streams of a sample.");
  def(
      "_call_keyed(object key, object function, object args)", kPrivate,
      [](Args& a) -> PyObject* {
        Streams streams(word(a, 0));
        PyObject* r = PyObject_CallObject(a.object(1), a.object(2));
        if (!r) throw PythonError{};
        return r;
      },
      "function(*args) under random streams with the given key.");
  def(
      "_sample_stream(int slot)", kPrivate,
      [](Args& a) -> PyObject* {
        Streams* streams = Streams::innermost;
        if (!streams) Py_RETURN_NONE;
        PyObject* object = streams->get(static_cast<int>(a.i64(0)));
        if (!object) throw PythonError{};
        Py_INCREF(object);
        return object;
      },
      "The stream of kind `slot` (0: random, 1: numpy) of the sample this thread reads; None outside samples.");
  def(
      "_set_stream_factory(int slot, object factory)", kPrivate,
      [](Args& a) {
        const int64_t slot = a.i64(0);
        FS_CHECK_VALUE(slot >= 0 && slot < kSlots, "_set_stream_factory: no slot ", slot);
        Py_INCREF(a.object(1));
        Py_XSETREF(factories[slot], a.object(1));
      },
      "What makes a stream of kind `slot`.");
}

}  // namespace fireseed::bind
