// Sorting kernels: sort (values and indices, always stable), topk, searchsorted.
#include "cpu/sort.h"

#include "tensor/attrs/sort.h"

namespace fireseed::cpu::FS_ISA {
namespace {

constexpr int64_t kLongLine = 131072;  // sorted by all threads together

template <class T>
void sort_along(const KernelArgs& args) {
  using Item = SortItem<T>;
  const auto& a = args.attrs<SortAttrs>();
  const AxisShape s = axis_shape(args.in[0], a.dim);
  if (args.in[0].numel == 0) return;
  const bool descending = a.descending != 0;
  const Contiguous<T> input(args.in[0]);
  const T* x = input.data();
  T* values = args.out[0].ptr<T>();
  int64_t* indices = args.out[1].ptr<int64_t>();
  const int64_t lines = s.outer * s.inner;
  auto line_start = [&](int64_t i) { return i / s.inner * s.n * s.inner + i % s.inner; };
  if (s.n >= kLongLine) {
    Scratch<Item> scratch(2 * s.n);
    Item *items = scratch.data(), *tmp = items + s.n;
    for (int64_t i = 0; i < lines; ++i) {
      const int64_t at = line_start(i);
      parallel_for(s.n, 32768, [&](int64_t b, int64_t e) {
        for (int64_t k = b; k < e; ++k) items[k] = sort_item(x[at + k * s.inner], k, descending);
      });
      sort_items_parallel(items, tmp, s.n);
      parallel_for(s.n, 32768, [&](int64_t b, int64_t e) {
        for (int64_t k = b; k < e; ++k) {
          const int64_t from = index_of(items[k]);
          values[at + k * s.inner] = x[at + from * s.inner];
          indices[at + k * s.inner] = from;
        }
      });
    }
    return;
  }
  parallel_for(lines, larger(1, 4096 / s.n), [&](int64_t b, int64_t e) {
    SmallScratch<Item, 1024> scratch(2 * s.n);
    Item *items = scratch.data(), *tmp = items + s.n;
    for (int64_t i = b; i < e; ++i) {
      const int64_t at = line_start(i);
      for (int64_t k = 0; k < s.n; ++k) items[k] = sort_item(x[at + k * s.inner], k, descending);
      sort_items(items, tmp, s.n);
      for (int64_t k = 0; k < s.n; ++k) {
        const int64_t from = index_of(items[k]);
        values[at + k * s.inner] = x[at + from * s.inner];
        indices[at + k * s.inner] = from;
      }
    }
  });
}

// The k first items of a line in the wanted order, unsorted, into items (room for `room` > 2k). Elements that cannot
// be among them are passed over a register at a time.
template <class T>
void pick_top(const T* x, int64_t n, int64_t k, bool largest, SortItem<T>* items, int64_t room) {
  using C = typename order_lane<T>::type;
  using V = Vec<C>;
  constexpr int kW = V::kSize;
  int64_t have = 0, i = 0;
  auto shrink = [&] {
    select_smallest(items, have, k);
    have = k;
  };
  const int64_t head = smaller(n, room);
  for (; i < head; ++i) items[have++] = sort_item(x[i], i, largest);
  if (i == n) {
    if (have > k) shrink();
    return;
  }
  shrink();
  auto worst_of = [&] {
    SortItem<T> worst = items[0];
    for (int64_t j = 1; j < k; ++j)
      if (worst < items[j]) worst = items[j];
    return widen_from<C>(x[index_of(worst)]);
  };
  C bound = worst_of();
  while (i < n) {
    const int lanes = static_cast<int>(smaller(kW, n - i));
    const V v = take<C>(x + i, lanes);
    Mask<C> better = Mask<C>::first(lanes);
    if constexpr (is_float_lane<C>) {
      if (largest) better = bound == bound ? better & ~(v <= V(bound)) : Mask<C>::filled(false);
      else if (bound == bound) better = better & (v < V(bound));
      else better = better & (v == v);
    } else {
      better = better & (largest ? v > V(bound) : v < V(bound));
    }
    for (uint64_t bits = better.bits(); bits; bits &= bits - 1) {
      const int64_t at = i + __builtin_ctzll(bits);
      items[have++] = sort_item(x[at], at, largest);
    }
    i += lanes;
    if (have + kW > room) {
      shrink();
      bound = worst_of();
    }
  }
  if (have > k) shrink();
}

template <class T>
void topk_along(const KernelArgs& args) {
  using Item = SortItem<T>;
  const auto& a = args.attrs<TopkAttrs>();
  const AxisShape s = axis_shape(args.in[0], a.dim);
  const int64_t k = a.k, lines = s.outer * s.inner;
  if (k == 0 || lines == 0) return;
  const bool largest = a.largest != 0;
  const Contiguous<T> input(args.in[0]);
  const T* x = input.data();
  T* values = args.out[0].ptr<T>();
  int64_t* indices = args.out[1].ptr<int64_t>();
  const int64_t room = smaller(s.n, 4 * k + 256) + 64;
  parallel_for(lines, larger(1, 8192 / s.n), [&](int64_t b, int64_t e) {
    SmallScratch<Item, 1024> items(2 * room);
    SmallScratch<T, 1024> line(s.inner > 1 ? s.n : 0);
    for (int64_t i = b; i < e; ++i) {
      const T* from = x + i / s.inner * s.n * s.inner + i % s.inner;
      const T* p = from;
      if (s.inner > 1) {
        for (int64_t j = 0; j < s.n; ++j) line.data()[j] = from[j * s.inner];
        p = line.data();
      }
      pick_top(p, s.n, k, largest, items.data(), room);
      sort_items(items.data(), items.data() + room, k);  // also where order is not asked for: one result for all
      const int64_t to = i / s.inner * k * s.inner + i % s.inner;
      for (int64_t j = 0; j < k; ++j) {
        const int64_t index = index_of(items.data()[j]);
        values[to + j * s.inner] = p[index];
        indices[to + j * s.inner] = index;
      }
    }
  });
}

// First position in sorted seq[0, n) whose element is >= v (right: > v).
template <class T>
FS_INLINE int64_t position(const T* seq, int64_t n, T v, bool right) {
  using C = typename order_lane<T>::type;
  const C x = widen_from<C>(v);
  int64_t low = 0, count = n;
  while (count > 0) {
    const int64_t half = count / 2;
    const C m = widen_from<C>(seq[low + half]);
    const bool before = right ? !(m > x) : !(m >= x);
    low = before ? low + half + 1 : low;
    count = before ? count - half - 1 : half;
  }
  return low;
}

}  // namespace

// out: values and int64 indices of in's shape.
void sort(const KernelArgs& args) {
  dispatch_all(args.in[0].dtype, [&](auto tag) { sort_along<memory_type<typename decltype(tag)::type>>(args); });
}

// out: the k largest (smallest) along dim and their indices, in order.
void topk(const KernelArgs& args) {
  dispatch_all(args.in[0].dtype, [&](auto tag) { topk_along<memory_type<typename decltype(tag)::type>>(args); });
}

// in: sorted sequence [n] or [..., n], values [...]. out: int64 or int32 positions of the values' shape.
void searchsorted(const KernelArgs& args) {
  const auto& a = args.attrs<SearchAttrs>();
  const TensorView &seq = args.in[0], &val = args.in[1];
  if (val.numel == 0) return;
  const int64_t n = seq.ndim ? seq.sizes[seq.ndim - 1] : 1;
  const bool shared = seq.ndim <= 1;
  const int64_t per = val.ndim ? val.sizes[val.ndim - 1] : 1;
  dispatch_all(seq.dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    const Contiguous<T> sequence(seq), values(val);
    const T *s = sequence.data(), *v = values.data();
    parallel_for(val.numel, 4096, [&](int64_t b, int64_t e) {
      for (int64_t i = b; i < e; ++i) {
        const int64_t at = position(shared ? s : s + i / per * n, n, v[i], a.right != 0);
        if (a.out_int32) args.out[0].ptr<int32_t>()[i] = static_cast<int32_t>(at);
        else args.out[0].ptr<int64_t>()[i] = at;
      }
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA
