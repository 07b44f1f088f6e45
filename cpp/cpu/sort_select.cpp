// Selection kernels along a dimension: kthvalue, median_dim, mode.
#include "cpu/sort.h"

#include "tensor/attrs/sort.h"

namespace fireseed::cpu::FS_ISA {
namespace {

// Calls pick(line, items) -> index of the chosen element, for every line of in[0] along dim; writes value and index.
template <class T, class F>
void pick_along(const KernelArgs& args, F&& pick) {
  using Item = SortItem<T>;
  const AxisShape s = axis_shape(args.in[0], args.attrs<SelectAttrs>().dim);
  const Contiguous<T> input(args.in[0]);
  const T* x = input.data();
  T* values = args.out[0].ptr<T>();
  int64_t* indices = args.out[1].ptr<int64_t>();
  if (s.n == 0) return;
  parallel_for(s.outer * s.inner, larger(1, 4096 / s.n), [&](int64_t b, int64_t e) {
    SmallScratch<Item, 1024> items(2 * s.n);
    SmallScratch<T, 1024> line(s.inner > 1 ? s.n : 0);
    for (int64_t i = b; i < e; ++i) {
      const T* p = x + i / s.inner * s.n * s.inner + i % s.inner;
      if (s.inner > 1) {
        for (int64_t j = 0; j < s.n; ++j) line.data()[j] = p[j * s.inner];
        p = line.data();
      }
      const int64_t at = pick(p, s.n, items.data());
      values[i] = p[at];
      indices[i] = at;
    }
  });
}

template <class T, class Item>
int64_t kth_index(const T* p, int64_t n, int64_t k, Item* items) {
  for (int64_t j = 0; j < n; ++j) items[j] = sort_item(p[j], j, false);
  select_smallest(items, n, k);
  Item worst = items[0];
  for (int64_t j = 1; j < k; ++j)
    if (worst < items[j]) worst = items[j];
  return index_of(worst);
}

}  // namespace

// out: value and index of the k-th smallest (k from 1); NaN is the greatest.
void kthvalue(const KernelArgs& args) {
  const int64_t k = args.attrs<SelectAttrs>().k;
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    pick_along<T>(args, [&](const T* p, int64_t n, SortItem<T>* items) { return kth_index(p, n, k, items); });
  });
}

// The lower median; NaN if there is one, or with ignore_nan the median of the others.
void median_dim(const KernelArgs& args) {
  const bool ignore = args.attrs<SelectAttrs>().ignore_nan != 0;
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    pick_along<T>(args, [&](const T* p, int64_t n, SortItem<T>* items) {
      int64_t numbers = n;
      if constexpr (is_float_type<T>) {
        for (int64_t j = 0; j < n; ++j) {
          const auto v = widen_from<double>(p[j]);
          if (v == v) continue;
          if (!ignore) return j;
          --numbers;
        }
      }
      return numbers ? kth_index(p, n, (numbers - 1) / 2 + 1, items) : int64_t{0};
    });
  });
}

// The most frequent value (the smallest of several) and its last index.
void mode(const KernelArgs& args) {
  dispatch_all(args.in[0].dtype, [&](auto tag) {
    using T = memory_type<typename decltype(tag)::type>;
    pick_along<T>(args, [&](const T* p, int64_t n, SortItem<T>* items) {
      for (int64_t j = 0; j < n; ++j) items[j] = sort_item(p[j], j, false);
      sort_items(items, items + n, n);
      int64_t best = 0, best_count = 0;
      for (int64_t j = 0; j < n;) {
        int64_t end = j + 1;
        while (end < n && key_of(items[end]) == key_of(items[j])) ++end;
        if (end - j > best_count) {
          best_count = end - j;
          best = end - 1;
        }
        j = end;
      }
      return index_of(items[best]);
    });
  });
}

}  // namespace fireseed::cpu::FS_ISA
