// Launches over the tensors of a list: tables of pointers by value, blocks of fixed pieces; the steps of update
// rules.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "device/contiguous.cuh"
#include "device/math.cuh"
#include "device/float_memory.cuh"
#include "tensor/optim_rules.h"

namespace fireseed::cuda {

// Note [Tensor lists]
// One launch serves up to kListRows tensors: the launch's parameters hold their addresses (kColumns for each: a
// parameter, its gradient, its states) and the first block of each; a block finds its tensor by bisection and works
// on one piece of it. Tensors of different dtypes go to launches of their own; tensors that are strided, or laid out
// differently from their column neighbours, are copied and copied back.
inline constexpr int kListRows = 64, kListThreads = 256;
inline constexpr int64_t kListPiece = 8192;  // elements a block

template <int kColumns>
struct TensorList {
  void* at[kColumns][kListRows];  // null: absent
  int64_t numel[kListRows];
  int32_t number[kListRows];  // the tensor's place in the list
  int32_t first[kListRows + 1];
  bool aligned[kListRows];  // all columns at multiples of 16 bytes
  int32_t rows;
  int64_t piece;

  __device__ __forceinline__ int row_of(int block) const {
    int low = 0, high = rows;
    while (high - low > 1) {
      const int middle = (low + high) / 2;
      if (first[middle] <= block) low = middle;
      else high = middle;
    }
    return low;
  }
};

// The views of one list entry as memory that is contiguous or alike in all columns.
class ListEntry {
 public:
  // Columns with a bit in `written` are copied back by finish().
  ListEntry(const TensorView* const* columns, int count, unsigned written) {
    const TensorView& first = *columns[0];
    bool flat = dense(first);
    for (int k = 1; k < count && flat; ++k) flat = !columns[k] || alike(first, *columns[k]);
    for (int k = 0; k < count; ++k) {
      if (!columns[k]) continue;
      at_[k] = columns[k]->data;
      if (flat || first.numel == 0) continue;
      copies_[k] = std::make_unique<Contiguous>(*columns[k]);
      at_[k] = copies_[k]->view().data;
      if (written >> k & 1u && !columns[k]->contiguous) back_[k] = columns[k];
    }
  }
  void* at(int k) const { return at_[k]; }
  bool copied() const { return copies_[0] != nullptr; }
  void finish() const {
    for (int k = 0; k < kMostColumns; ++k)
      if (back_[k]) move_view(*back_[k], copies_[k]->view());
  }
  static constexpr int kMostColumns = 2 + kMaxStates;

 private:
  static bool alike(const TensorView& a, const TensorView& b) {
    if (a.contiguous && b.contiguous) return true;
    for (int d = 0; d < a.ndim; ++d)
      if (a.sizes[d] != 1 && a.strides[d] != b.strides[d]) return false;
    return true;
  }
  // The elements fill an interval of memory in some order of the dimensions.
  static bool dense(const TensorView& v) {
    if (v.contiguous) return true;
    int64_t expected = 1;
    bool used[kMaxRank] = {};
    for (int found = 0; found < v.ndim; ++found) {
      int at = -1;
      for (int d = 0; d < v.ndim; ++d)
        if (!used[d] && (v.sizes[d] == 1 || v.strides[d] == expected)) at = d;
      if (at < 0) return false;
      used[at] = true;
      expected *= v.sizes[at];
    }
    return true;
  }

  void* at_[kMostColumns] = {};
  std::unique_ptr<Contiguous> copies_[kMostColumns];
  const TensorView* back_[kMostColumns] = {};
};

// Calls launch(memory, list, blocks, blocks before) until all of n tensors have been in a list. columns(i, c) puts
// tensor i's views into c. Empty tensors are left out.
template <int kColumns, class GetColumns, class Launch>
void for_each_list(int64_t n, int64_t piece, unsigned written, const GetColumns& columns, const Launch& launch) {
  std::vector<ListEntry> copied;
  int64_t before = 0;
  for (DType t : {DType::kFloat32, DType::kBFloat16, DType::kFloat16, DType::kFloat64}) {
    TensorList<kColumns> list;
    list.rows = 0;
    list.first[0] = 0;
    list.piece = piece;
    const auto flush = [&] {
      if (list.rows == 0) return;
      const int blocks = list.first[list.rows];
      if (t == DType::kFloat64) launch(DoubleMemory{}, list, blocks, before);
      else launch(FloatMemory{t}, list, blocks, before);
      before += blocks;
      list.rows = 0;
    };
    for (int64_t i = 0; i < n; ++i) {
      const TensorView* c[kColumns] = {};
      columns(i, c);
      if (c[0]->dtype != t || c[0]->numel == 0) continue;
      const int64_t blocks = (c[0]->numel - 1) / piece + 1;
      if (list.rows == kListRows || (list.rows > 0 && list.first[list.rows] + blocks >= int64_t{1} << 31)) flush();
      ListEntry entry(c, kColumns, written);
      const int row = list.rows++;
      list.numel[row] = c[0]->numel;
      list.number[row] = static_cast<int32_t>(i);
      list.first[row + 1] = list.first[row] + static_cast<int32_t>(blocks);
      list.aligned[row] = true;
      for (int k = 0; k < kColumns; ++k) {
        list.at[k][row] = entry.at(k);
        list.aligned[row] &= aligned_for(list.at[k][row], 16);
      }
      if (entry.copied()) copied.push_back(std::move(entry));
    }
    flush();
  }
  for (const ListEntry& e : copied) e.finish();
}

// Calls f(i, n, whole) for the elements [i, i + n) of the block's piece, n at most kVec; every element once.
template <int kVec, class List, class F>
__device__ __forceinline__ void for_each_vector(const List& list, int row, int64_t block, const F& f) {
  const int64_t begin = block * list.piece, left = list.numel[row] - begin;
  const int64_t count = left < list.piece ? left : list.piece;
  // Not unrolled: a step has several vectors under way as it is, and the code is there for each rule and dtype.
#pragma unroll 1
  for (int64_t i = int64_t{threadIdx.x} * kVec; i < count; i += kListThreads * kVec) {
    const int n = count - i < kVec ? static_cast<int>(count - i) : kVec;
    f(begin + i, n, n == kVec && list.aligned[row]);
  }
}

// ---- update rules ------------------------------------------------------------------------------------------

// Note [Rules on the device]
// The step counters and other 0-dim states lie on the device, the hyperparameters on the host. A first kernel, one
// thread a tensor, advances the counters and computes the rules in double precision; a second one applies them. The
// hyperparameters are parameters of the first launch, so that a captured step keeps those of its recording; but a
// hyperparameter that is a tensor on the device is read there, at each replay.
inline constexpr int kMostHyper = 8, kRuleRows = 96;

struct RuleInputs {
  double hyper[kMostHyper];
  void* device_hyper[kMostHyper];  // instead of hyper, where not null
  int64_t flags;
  int32_t rows, num_hyper;
  void* step[kRuleRows];
  void* number[kMaxNumbers][kRuleRows];
  uint8_t wide[kRuleRows];  // bit 0: step is float64; bit 1 + k: number k
  uint8_t wide_hyper;       // bit k: device_hyper[k] is float64
};

template <class Rule>
static __global__ void prepare_rules(const __grid_constant__ RuleInputs in, Rule* rules) {
  const int i = static_cast<int>(threadIdx.x);
  if (i >= in.rows) return;
  double hyper[kMostHyper], step = 0;
  for (int k = 0; k < in.num_hyper; ++k)
    hyper[k] = in.device_hyper[k] ? Number{in.device_hyper[k], (in.wide_hyper >> k & 1) != 0}.get() : in.hyper[k];
  if constexpr (Rule::kHasStep) {
    const Number number{in.step[i], (in.wide[i] & 1) != 0};
    number.set(step = number.get() + 1);
  }
  Number own[kMaxNumbers];
  for (int k = 0; k < Rule::kScalars; ++k) own[k] = Number{in.number[k][i], (in.wide[i] >> (1 + k) & 1) != 0};
  rules[i] = Rule(hyper, in.flags, step, own);
}

// Compiles to (optim.cu): no spills, LDG.E.128, STG.E.128
template <class Rule, class M>
static __global__ void __launch_bounds__(kListThreads)
    apply_rules(const __grid_constant__ TensorList<2 + Rule::kStates> list, const Rule* rules, const M memory) {
  using C = typename M::Compute;
  using V = Num<C>;
  const int block = static_cast<int>(blockIdx.x), row = list.row_of(block);
  const Rule& rule = rules[Rule::kHasStep ? list.number[row] : 0];
  const typename Rule::template Constants<V> constants(rule);
  void* const p = list.at[0][row];
  const void* const g = list.at[1][row];
  void* s[Rule::kStates];
#pragma unroll
  for (int k = 0; k < Rule::kStates; ++k) s[k] = list.at[2 + k][row];
  for_each_vector<M::kVec>(list, row, block - list.first[row], [&](int64_t i, int n, bool whole) {
    C x[M::kVec], y[M::kVec], states[Rule::kStates][M::kVec] = {};
    memory.load(p, i, n, whole, x);
    memory.load(g, i, n, whole, y);
#pragma unroll
    for (int k = 0; k < Rule::kStates; ++k)
      if (s[k]) memory.load(s[k], i, n, whole, states[k]);
#pragma unroll
    for (int j = 0; j < M::kVec; ++j) {
      V own[Rule::kStates], value(x[j]);
#pragma unroll
      for (int k = 0; k < Rule::kStates; ++k) own[k] = V(states[k][j]);
      constants.apply(value, V(y[j]), own);
      x[j] = value.v;
#pragma unroll
      for (int k = 0; k < Rule::kStates; ++k) states[k][j] = own[k].v;
    }
    memory.store(p, i, n, whole, x);
#pragma unroll
    for (int k = 0; k < Rule::kStates; ++k)
      if (s[k]) memory.store(s[k], i, n, whole, states[k]);
  });
}

// One step of all tensors of a parameter group (Note [Optimizer steps]).
template <class Rule>
void run_rule(const KernelArgs& args) {
  const auto& a = args.attrs<OptimAttrs>();
  const int64_t n = a.count;
  const TensorView *const params = args.in + 1, *const grads = params + n, *const steps = grads + n;
  const TensorView* const numbers = Rule::kHasStep ? steps + n : steps;
  const TensorView* const states = numbers + Rule::kScalars * n;
  const int64_t rules_needed = Rule::kHasStep ? n : 1;
  const Scratch rules(static_cast<size_t>(rules_needed) * sizeof(Rule));
  Rule* const prepared = rules.ptr<Rule>();

  RuleInputs in = {};
  in.flags = a.flags;
  in.num_hyper = static_cast<int32_t>(args.in[0].numel);
  std::copy_n(args.in[0].ptr<double>(), in.num_hyper, in.hyper);
  const TensorView* device_hyper =
      args.in + args.num_in - __builtin_popcountll(static_cast<uint64_t>(a.device_hyper));
  for (int k = 0; k < in.num_hyper; ++k) {
    if (!(a.device_hyper >> k & 1)) continue;
    in.device_hyper[k] = device_hyper->data;
    in.wide_hyper = static_cast<uint8_t>(in.wide_hyper | (device_hyper->dtype == DType::kFloat64) << k);
    ++device_hyper;
  }
  for (int64_t begin = 0; begin < rules_needed; begin += kRuleRows) {
    in.rows = static_cast<int32_t>(std::min<int64_t>(kRuleRows, rules_needed - begin));
    for (int i = 0; Rule::kHasStep && i < in.rows; ++i) {
      const TensorView& step = steps[begin + i];
      in.step[i] = step.data;
      in.wide[i] = step.dtype == DType::kFloat64;
      for (int k = 0; k < Rule::kScalars; ++k) {
        const TensorView& number = numbers[k * n + begin + i];
        in.number[k][i] = number.data;
        in.wide[i] = static_cast<uint8_t>(in.wide[i] | (number.dtype == DType::kFloat64) << (1 + k));
      }
    }
    FS_LAUNCH((prepare_rules<Rule>), 1, kRuleRows, 0, current_stream(), in, prepared + begin);
  }

  double ones[kMaxNumbers] = {1, 1};
  const Number stand_ins[kMaxNumbers] = {{&ones[0], true}, {&ones[1], true}};
  const Rule on_host(in.hyper, a.flags, 1, stand_ins);  // knows which states are there
  for_each_list<2 + Rule::kStates>(
      n, kListPiece, ~2u,
      [&](int64_t i, const TensorView** c) {
        c[0] = params + i;
        c[1] = grads + i;
        int slot = 0;  // absent states take no inputs
        for (int k = 0; k < Rule::kStates; ++k)
          if (on_host.uses(k)) c[2 + k] = states + slot++ * n + i;
      },
      [&](auto memory, const auto& list, int blocks, int64_t) {
        FS_LAUNCH((apply_rules<Rule, decltype(memory)>), blocks, kListThreads, 0, current_stream(), list, prepared,
                  memory);
      });
}

}  // namespace fireseed::cuda
