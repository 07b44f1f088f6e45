// A Python function that is told of every op: its name, tensors, and attributes by name.
#include <memory>
#include <string_view>
#include <type_traits>
#include <unordered_map>

#include "bind/gil.h"
#include "bind/python_types.h"
#include "engine/recorder.h"
#include "math/functors.h"
#include "tensor/attrs/attention.h"
#include "tensor/attrs/conv.h"
#include "tensor/attrs/copy.h"
#include "tensor/attrs/embedding.h"
#include "tensor/attrs/index.h"
#include "tensor/attrs/interpolate.h"
#include "tensor/attrs/loss.h"
#include "tensor/attrs/matmul.h"
#include "tensor/attrs/move.h"
#include "tensor/attrs/norm.h"
#include "tensor/attrs/pool.h"
#include "tensor/attrs/reduce.h"
#include "tensor/attrs/rnn.h"
#include "tensor/attrs/shape.h"
#include "tensor/attrs/softmax.h"
#include "tensor/attrs/sort.h"

namespace fireseed::bind {
namespace {

// --- Attributes as dictionaries -----------------------------------------------------------------------------------

PyObject* value(int64_t v) { return PyLong_FromLongLong(v); }
PyObject* value(double v) { return PyFloat_FromDouble(v); }
PyObject* value(Scalar v) { return to_python(v); }
PyObject* value(const FillValue& v) { return Py_BuildValue("(dL)", v.real, static_cast<long long>(v.integer)); }
PyObject* values(const int64_t* v, int64_t n) {
  PyObject* r = PyTuple_New(static_cast<Py_ssize_t>(n));
  for (int64_t i = 0; r && i < n; ++i) PyTuple_SET_ITEM(r, static_cast<Py_ssize_t>(i), value(v[i]));
  return r;
}
PyObject* value(const Dims& v) { return values(v.d, v.n); }
template <size_t n>
PyObject* value(const int64_t (&v)[n]) {
  return values(v, n);
}
PyObject* value(const double (&v)[3]) { return Py_BuildValue("(ddd)", v[0], v[1], v[2]); }
template <class E>
  requires std::is_enum_v<E>
PyObject* value(E v) {
  return value(static_cast<int64_t>(v));
}

template <class T>
void put(PyObject* dict, const char* name, const T& v) {
  PyObject* o = value(v);
  if (!o || PyDict_SetItemString(dict, name, o) < 0) {
    Py_XDECREF(o);
    throw PythonError{};
  }
  Py_DECREF(o);
}

// FS_FIELDS(SoftmaxAttrs, FS_FIELD(dim)): describe() of that struct.
#define FS_FIELDS(Type, fields) \
  void describe(PyObject* dict, [[maybe_unused]] const Type& a) { fields }
#define FS_FIELD(name) put(dict, #name, a.name);

FS_FIELDS(AttentionAttrs, FS_FIELD(scale) FS_FIELD(causal) FS_FIELD(groups))
FS_FIELDS(ConvAttrs,
          FS_FIELD(rank) FS_FIELD(groups) FS_FIELD(stride) FS_FIELD(padding) FS_FIELD(dilation) FS_FIELD(size))
FS_FIELDS(CopyAttrs, FS_FIELD(dtype))
FS_FIELDS(FillAttrs, FS_FIELD(value))
FS_FIELDS(EmbeddingAttrs, FS_FIELD(padding_idx))
FS_FIELDS(IndexAttrs, FS_FIELD(dim) FS_FIELD(accumulate))
FS_FIELDS(IndexDimAttrs, FS_FIELD(dim) FS_FIELD(wrap))
FS_FIELDS(IndexFillAttrs, FS_FIELD(dim) FS_FIELD(value))
FS_FIELDS(MaskedFillAttrs, FS_FIELD(value))
FS_FIELDS(ScatterAttrs, FS_FIELD(dim) FS_FIELD(reduce) FS_FIELD(include_self))
FS_FIELDS(InterpolateAttrs, FS_FIELD(in) FS_FIELD(out) FS_FIELD(scale) FS_FIELD(mode) FS_FIELD(align_corners)
                                FS_FIELD(antialias) FS_FIELD(spatial))
FS_FIELDS(ClassLossAttrs, FS_FIELD(reduction) FS_FIELD(ignore_index) FS_FIELD(label_smoothing))
FS_FIELDS(AddmmAttrs, FS_FIELD(alpha) FS_FIELD(beta))
FS_FIELDS(CatAttrs, FS_FIELD(dim))
FS_FIELDS(FlipAttrs, FS_FIELD(mask))
FS_FIELDS(RollAttrs, FS_FIELD(shifts))
FS_FIELDS(RepeatAttrs, FS_FIELD(repeats))
FS_FIELDS(OneHotAttrs, FS_FIELD(num_classes))
FS_FIELDS(TriAttrs, FS_FIELD(diagonal))
FS_FIELDS(ConstantPadAttrs, FS_FIELD(before) FS_FIELD(value) FS_FIELD(after))
FS_FIELDS(ModePadAttrs, FS_FIELD(before) FS_FIELD(mode) FS_FIELD(after))
FS_FIELDS(BatchNormAttrs, FS_FIELD(training) FS_FIELD(momentum) FS_FIELD(eps))
FS_FIELDS(LayerNormAttrs, FS_FIELD(size) FS_FIELD(eps))
FS_FIELDS(GroupNormAttrs, FS_FIELD(groups) FS_FIELD(eps))
FS_FIELDS(PoolAttrs, FS_FIELD(kernel) FS_FIELD(stride) FS_FIELD(padding) FS_FIELD(dilation) FS_FIELD(spatial)
                         FS_FIELD(ceil_mode) FS_FIELD(count_include_pad) FS_FIELD(divisor_override))
FS_FIELDS(AdaptivePoolAttrs, FS_FIELD(spatial) FS_FIELD(out))
FS_FIELDS(ReduceAttrs, FS_FIELD(mask) FS_FIELD(keepdim))
FS_FIELDS(VarAttrs, FS_FIELD(mask) FS_FIELD(keepdim) FS_FIELD(correction))
FS_FIELDS(NormAttrs, FS_FIELD(mask) FS_FIELD(keepdim) FS_FIELD(p))
FS_FIELDS(ScanAttrs, FS_FIELD(dim))
FS_FIELDS(RnnAttrs, FS_FIELD(mode) FS_FIELD(reverse))
FS_FIELDS(DimsAttrs, FS_FIELD(dims))
FS_FIELDS(SliceAttrs, FS_FIELD(dim) FS_FIELD(start) FS_FIELD(step) FS_FIELD(length))
FS_FIELDS(DiagonalAttrs, FS_FIELD(offset) FS_FIELD(dim1) FS_FIELD(dim2))
FS_FIELDS(UnfoldAttrs, FS_FIELD(dim) FS_FIELD(size) FS_FIELD(step))
FS_FIELDS(RangeAttrs,
          FS_FIELD(start) FS_FIELD(step) FS_FIELD(end) FS_FIELD(istart) FS_FIELD(istep) FS_FIELD(linspace))
FS_FIELDS(SoftmaxAttrs, FS_FIELD(dim))
FS_FIELDS(SortAttrs, FS_FIELD(dim) FS_FIELD(descending))
FS_FIELDS(TopkAttrs, FS_FIELD(dim) FS_FIELD(k) FS_FIELD(largest) FS_FIELD(sorted))

FS_FIELDS(AddScalar, FS_FIELD(value))
FS_FIELDS(RsubScalar, FS_FIELD(value))
FS_FIELDS(MulScalar, FS_FIELD(value))
FS_FIELDS(DivScalar, FS_FIELD(value))
FS_FIELDS(RdivScalar, FS_FIELD(value))
FS_FIELDS(PowScalar, FS_FIELD(exponent))
FS_FIELDS(NanToNum, FS_FIELD(nan) FS_FIELD(posinf) FS_FIELD(neginf))
FS_FIELDS(Clamp, FS_FIELD(low) FS_FIELD(high))
FS_FIELDS(Round, FS_FIELD(scale) FS_FIELD(negative))
FS_FIELDS(Hardtanh, FS_FIELD(low) FS_FIELD(high))
FS_FIELDS(LeakyRelu, FS_FIELD(slope))
FS_FIELDS(Elu, FS_FIELD(alpha) FS_FIELD(scale) FS_FIELD(rate))
FS_FIELDS(Hardshrink, FS_FIELD(lambd))
FS_FIELDS(Softshrink, FS_FIELD(lambd))
FS_FIELDS(Softplus, FS_FIELD(beta) FS_FIELD(threshold))
FS_FIELDS(Threshold, FS_FIELD(threshold) FS_FIELD(value))
FS_FIELDS(Add, FS_FIELD(alpha))
FS_FIELDS(Sub, FS_FIELD(alpha))
FS_FIELDS(LerpScalar, FS_FIELD(weight))
FS_FIELDS(Addcmul, FS_FIELD(value))
FS_FIELDS(Addcdiv, FS_FIELD(value))

template <class A>
void describe_as(PyObject* dict, const void* attrs) {
  describe(dict, *static_cast<const A*>(attrs));
}
using Describe = void (*)(PyObject* dict, const void* attrs);

// The ops whose attributes have names here.
const std::unordered_map<std::string_view, Describe>& descriptions() {
  static const std::unordered_map<std::string_view, Describe> table{
      {"attention", describe_as<AttentionAttrs>},
      {"conv", describe_as<ConvAttrs>},
      {"conv_backward_input", describe_as<ConvAttrs>},
      {"copy", describe_as<CopyAttrs>},
      {"fill", describe_as<FillAttrs>},
      {"embedding", describe_as<EmbeddingAttrs>},
      {"index", describe_as<IndexAttrs>},
      {"index_put", describe_as<IndexAttrs>},
      {"index_select", describe_as<IndexDimAttrs>},
      {"gather", describe_as<IndexDimAttrs>},
      {"index_fill", describe_as<IndexFillAttrs>},
      {"masked_fill", describe_as<MaskedFillAttrs>},
      {"scatter", describe_as<ScatterAttrs>},
      {"scatter_reduce", describe_as<ScatterAttrs>},
      {"interpolate", describe_as<InterpolateAttrs>},
      {"nll_loss", describe_as<ClassLossAttrs>},
      {"cross_entropy", describe_as<ClassLossAttrs>},
      {"addmm", describe_as<AddmmAttrs>},
      {"cat", describe_as<CatAttrs>},
      {"flip", describe_as<FlipAttrs>},
      {"roll", describe_as<RollAttrs>},
      {"repeat", describe_as<RepeatAttrs>},
      {"one_hot", describe_as<OneHotAttrs>},
      {"tril", describe_as<TriAttrs>},
      {"triu", describe_as<TriAttrs>},
      {"constant_pad", describe_as<ConstantPadAttrs>},
      {"mode_pad", describe_as<ModePadAttrs>},
      {"batch_norm", describe_as<BatchNormAttrs>},
      {"layer_norm", describe_as<LayerNormAttrs>},
      {"rms_norm", describe_as<LayerNormAttrs>},
      {"group_norm", describe_as<GroupNormAttrs>},
      {"max_pool", describe_as<PoolAttrs>},
      {"max_pool_with_indices", describe_as<PoolAttrs>},
      {"avg_pool", describe_as<PoolAttrs>},
      {"adaptive_avg_pool", describe_as<AdaptivePoolAttrs>},
      {"adaptive_max_pool", describe_as<AdaptivePoolAttrs>},
      {"sum", describe_as<ReduceAttrs>},
      {"mean", describe_as<ReduceAttrs>},
      {"prod", describe_as<ReduceAttrs>},
      {"amax", describe_as<ReduceAttrs>},
      {"amin", describe_as<ReduceAttrs>},
      {"argmax", describe_as<ReduceAttrs>},
      {"argmin", describe_as<ReduceAttrs>},
      {"max", describe_as<ReduceAttrs>},
      {"min", describe_as<ReduceAttrs>},
      {"any", describe_as<ReduceAttrs>},
      {"all", describe_as<ReduceAttrs>},
      {"logsumexp", describe_as<ReduceAttrs>},
      {"var", describe_as<VarAttrs>},
      {"std", describe_as<VarAttrs>},
      {"var_mean", describe_as<VarAttrs>},
      {"std_mean", describe_as<VarAttrs>},
      {"norm", describe_as<NormAttrs>},
      {"cumsum", describe_as<ScanAttrs>},
      {"rnn", describe_as<RnnAttrs>},
      {"view", describe_as<DimsAttrs>},
      {"squeeze", describe_as<DimsAttrs>},
      {"unsqueeze", describe_as<DimsAttrs>},
      {"permute", describe_as<DimsAttrs>},
      {"expand", describe_as<DimsAttrs>},
      {"slice", describe_as<SliceAttrs>},
      {"select", describe_as<SliceAttrs>},
      {"diagonal", describe_as<DiagonalAttrs>},
      {"unfold", describe_as<UnfoldAttrs>},
      {"arange", describe_as<RangeAttrs>},
      {"softmax", describe_as<SoftmaxAttrs>},
      {"log_softmax", describe_as<SoftmaxAttrs>},
      {"sort", describe_as<SortAttrs>},
      {"topk", describe_as<TopkAttrs>},
      {"add_scalar", describe_as<AddScalar>},
      {"rsub_scalar", describe_as<RsubScalar>},
      {"mul_scalar", describe_as<MulScalar>},
      {"div_scalar", describe_as<DivScalar>},
      {"rdiv_scalar", describe_as<RdivScalar>},
      {"pow_scalar", describe_as<PowScalar>},
      {"nan_to_num", describe_as<NanToNum>},
      {"clamp", describe_as<Clamp>},
      {"round", describe_as<Round>},
      {"hardtanh", describe_as<Hardtanh>},
      {"leaky_relu", describe_as<LeakyRelu>},
      {"elu", describe_as<Elu>},
      {"hardshrink", describe_as<Hardshrink>},
      {"softshrink", describe_as<Softshrink>},
      {"softplus", describe_as<Softplus>},
      {"threshold", describe_as<Threshold>},
      {"add", describe_as<Add>},
      {"sub", describe_as<Sub>},
      {"lerp_scalar", describe_as<LerpScalar>},
      {"addcmul", describe_as<Addcmul>},
      {"addcdiv", describe_as<Addcdiv>},
  };
  return table;
}

// --- The recorder -------------------------------------------------------------------------------------------------

PyObject* tensor_list(std::span<const Tensor> tensors) {
  PyObject* r = PyList_New(static_cast<Py_ssize_t>(tensors.size()));
  if (!r) throw PythonError{};
  for (size_t i = 0; i < tensors.size(); ++i) PyList_SET_ITEM(r, static_cast<Py_ssize_t>(i), wrap(tensors[i]));
  return r;
}

class PythonRecorder : public Recorder {
 public:
  explicit PythonRecorder(PyObject* callback) : callback_(callback) {}

  void step(const Step& s) override {
    RecorderScope off(nullptr);  // what the function itself computes is not recorded
    WithGil gil;
    PyObject* attrs = PyDict_New();
    if (!attrs) throw PythonError{};
    const auto found = descriptions().find(s.op.name);
    if (found != descriptions().end() && s.attrs) found->second(attrs, s.attrs);
    PyObject* r = PyObject_CallFunction(callback_.get(), "sNNNO", s.op.name, tensor_list(s.in), attrs,
                                        tensor_list(s.out), s.in_place ? Py_True : Py_False);
    if (!r) throw PythonError{};
    Py_DECREF(r);
  }

 private:
  HeldObject callback_;
};

thread_local std::unique_ptr<PythonRecorder> installed;

}  // namespace

FS_BINDINGS(record) {
  def(
      "_set_recorder(object callback)", kPrivate,
      [](Args& a) {
        recorder = nullptr;
        installed.reset(a.given(0) ? new PythonRecorder(a.object(0)) : nullptr);
        recorder = installed.get();
      },
      "Calls callback(op name, inputs, attributes, outputs, in_place) after every op of this thread; None ends it.\n"
      "Inputs and outputs are lists of tensors, None for absent ones. Of an op in place it is told before the "
      "write;\n"
      "outputs are [inputs[0]] then.");
  def(
      "_tensor_identity(Tensor self)", kPrivate,
      [](Args& a) {
        const TensorImpl* x = a.tensor(0).impl();
        return std::pair<int64_t, int64_t>(reinterpret_cast<int64_t>(x), reinterpret_cast<int64_t>(x->storage));
      },
      "The addresses of the tensor and of its storage: equal for equal ones while both live.");
}

}  // namespace fireseed::bind
