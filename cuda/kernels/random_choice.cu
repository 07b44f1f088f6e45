// Random kernels that choose: permutations, and sampling from given weights.
// Rarely used: a wheel has it as PTX.
#include "device/contiguous.cuh"
#include "device/memory.cuh"
#include "device/random.cuh"
#include "device/reduce.cuh"
#include "tensor/attrs/random.h"

namespace fireseed::cuda {
namespace {

constexpr int kChoiceThreads = 256;

// ---- permutations ------------------------------------------------------------------------------------------

// Note [Permutations]
// Up to kMostRanked elements: each has a random key of 64 bits and goes to its rank among them. Above, no memory is
// needed: a Feistel network of 12 rounds under a random key permutes the smallest 2^bits > n numbers, and an element
// whose image is n or more is sent on until it is below (Black and Rogaway 2002, "Ciphers with Arbitrary Finite
// Domains", cycle walking).
constexpr int64_t kMostRanked = 8192;

template <class U>
__global__ void __launch_bounds__(kChoiceThreads)
    rank_permutation(U* out, DType dtype, int64_t step, int64_t n, const PhiloxState state) {
  FS_SHARED(uint64_t, keys, [kChoiceThreads]);
  const int64_t i = grid_thread();
  const auto key_of = [&](int64_t k) {
    const PhiloxWords r = words_of(state, k);
    return static_cast<uint64_t>(r.w[0]) << 32 | r.w[1];
  };
  const uint64_t own = key_of(i);
  int64_t rank = 0;
  for (int64_t first = 0; first < n; first += kChoiceThreads) {
    keys[threadIdx.x] = key_of(first + threadIdx.x);
    __syncthreads();
    const int count = static_cast<int>(n - first < kChoiceThreads ? n - first : kChoiceThreads);
    for (int k = 0; k < count; ++k) rank += keys[k] < own || (keys[k] == own && first + k < i);
    __syncthreads();
  }
  if (i < n) out[rank * step] = encode<U>(i, dtype);
}

template <class U>
__global__ void __launch_bounds__(kChoiceThreads)
    feistel_permutation(U* out, DType dtype, int64_t step, int64_t n, int bits, const PhiloxState state) {
  const PhiloxWords r = words_of(state, 0);
  const uint64_t key0 = static_cast<uint64_t>(r.w[0]) << 32 | r.w[1];
  const uint64_t key1 = (static_cast<uint64_t>(r.w[2]) << 32 | r.w[3]) | 1;
  const int low_bits = bits / 2;
  const uint64_t low_mask = (uint64_t{1} << low_bits) - 1, high_mask = (uint64_t{1} << (bits - low_bits)) - 1;
  const auto mix = [&](uint64_t v, int round) {  // splitmix64's finalizer (Steele, Lea, Flood 2014)
    uint64_t z = (key0 ^ v) + key1 * static_cast<uint64_t>(round + 1);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  };
  for (int64_t i = grid_thread(); i < n; i += grid_threads()) {
    uint64_t x = static_cast<uint64_t>(i);
    do {
      uint64_t low = x & low_mask, high = x >> low_bits;
      for (int round = 0; round < 12; round += 2) {
        high ^= mix(low, round) & high_mask;
        low ^= mix(high, round + 1) & low_mask;
      }
      x = high << low_bits | low;
    } while (x >= static_cast<uint64_t>(n));
    out[i * step] = encode<U>(static_cast<int64_t>(x), dtype);
  }
}

// ---- sampling ----------------------------------------------------------------------------------------------

// Errors that a row of weights may hold, as bits.
constexpr int kNegative = 1, kNotFinite = 2, kZeroSum = 4;

template <class C>
__device__ __forceinline__ int errors_of(C w) {
  return !(w >= C(0)) ? kNegative : !(w < kInfinity<C>) ? kNotFinite : 0;
}

// Without replacement: the k largest of w / q with q exponential, one after the other. One block a row.
template <class T>
__global__ void __launch_bounds__(kChoiceThreads)
    choose_without(const T* weights, compute_type<T>* scores, int64_t* out, int64_t rows, int64_t n, int64_t k,
                   int* errors, const PhiloxState state) {
  using C = compute_type<T>;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    C* const s = scores + row * n;
    int bad = 0, positive = 0;
    for (int64_t i = threadIdx.x; i < n; i += kChoiceThreads) {
      const C w = load_as<C>(weights[row * n + i]);
      bad |= errors_of(w);
      positive |= w > C(0);
      s[i] = w / exponential_of(words_of(state, row * n + i), C{});
    }
    positive = block_reduce<kChoiceThreads>(positive, MaxOp{});
    if (positive == 0) bad |= kZeroSum;
    if (bad != 0) atomicOr(errors, bad);
    for (int64_t j = 0; j < k; ++j) {  // a thread looks at and changes its own elements only
      C best = C(-1);
      int64_t at = n;
      for (int64_t i = threadIdx.x; i < n; i += kChoiceThreads)
        if (s[i] > best) {
          best = s[i];
          at = i;
        }
      const C top = block_reduce<kChoiceThreads>(best, MaxOp{});
      at = block_reduce<kChoiceThreads>(best == top ? at : n, MinOp{});
      if (at >= n) break;  // weights that are not numbers
      if (at % kChoiceThreads == threadIdx.x) {
        s[at] = C(-1);
        out[row * k + j] = at;
      }
    }
  }
}

// sums[row][i] = the row's weights 0 … i added up. One block a row; each thread adds up a stretch of it.
template <class T>
__global__ void __launch_bounds__(kChoiceThreads)
    add_up_weights(const T* weights, double* sums, int64_t rows, int64_t n, int* errors) {
  FS_SHARED(double, before, [kChoiceThreads]);
  const int64_t share = (n + kChoiceThreads - 1) / kChoiceThreads;
  const int64_t from = share * threadIdx.x, begin = from < n ? from : n, end = n - begin < share ? n : begin + share;
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    int bad = 0;
    double sum = 0;
    for (int64_t i = begin; i < end; ++i) {
      const compute_type<T> w = load_as<compute_type<T>>(weights[row * n + i]);
      bad |= errors_of(w);
      sum += static_cast<double>(w);
    }
    before[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
      double total = 0;
      for (int t = 0; t < kChoiceThreads; ++t) {
        const double own = before[t];
        before[t] = total;
        total += own;
      }
      if (!(total > 0)) bad |= kZeroSum;
    }
    __syncthreads();
    sum = before[threadIdx.x];
    for (int64_t i = begin; i < end; ++i)
      sums[row * n + i] = sum += static_cast<double>(load_as<compute_type<T>>(weights[row * n + i]));
    if (bad != 0) atomicOr(errors, bad);
    __syncthreads();  // before may be written again
  }
}

// With replacement: the first position whose sum is above a uniform share of the row's total.
__global__ void __launch_bounds__(kChoiceThreads)
    choose_with(const double* sums, int64_t* out, int64_t samples, int64_t n, int64_t k, const PhiloxState state) {
  for (int64_t i = grid_thread(); i < samples; i += grid_threads()) {
    const double* const c = sums + i / k * n;
    const double u = uniform_of(words_of(state, i), double{}) * c[n - 1];
    int64_t left = 0, right = n - 1;
    while (left < right) {
      const int64_t middle = left + (right - left) / 2;
      if (c[middle] <= u) left = middle + 1;
      else right = middle;
    }
    while (left > 0 && c[left] == c[left - 1]) --left;  // weights of 0 at the end
    out[i] = left;
  }
}

}  // namespace

// randperm(self: n elements) -> out: a random permutation of 0 … n - 1 (Note [Permutations]).
void randperm(const KernelArgs& args) {
  const TensorView& out = args.out[0];
  const int64_t n = out.numel, step = out.ndim > 0 ? out.strides[0] : 1;
  const PhiloxState state = philox_state(*args.attrs<GeneratorAttrs>().generator, static_cast<uint64_t>(n));
  int bits = 2;
  while (int64_t{1} << bits <= n) ++bits;
  dispatch_unit(out.dtype, [&](auto unit) {
    using U = decltype(unit);
    if (n <= kMostRanked)
      FS_LAUNCH((rank_permutation<U>), grid_for(n, kChoiceThreads, 1 << 16), kChoiceThreads, 0, current_stream(),
                out.ptr<U>(), out.dtype, step, n, state);
    else
      FS_LAUNCH((feistel_permutation<U>), grid_for(n, kChoiceThreads, 1 << 16), kChoiceThreads, 0, current_stream(),
                out.ptr<U>(), out.dtype, step, n, bits, state);
  });
}

// multinomial(p: (n) or (rows, n)) -> out (k) or (rows, k), int64: positions drawn with probabilities p / sum(p).
// Waits for the device to see whether the weights are valid, but in a graph.
void multinomial(const KernelArgs& args) {
  const auto& a = args.attrs<MultinomialAttrs>();
  const TensorView& out = args.out[0];
  if (out.numel == 0) return;
  const bool replacement = a.replacement && a.num_samples > 1;  // one sample: both are the same question
  const Contiguous p(args.in[0]);
  const int64_t n = p.view().size(-1), rows = p.view().numel / n, k = a.num_samples;
  const cudaStream_t stream = current_stream();
  const Scratch memory(static_cast<size_t>(rows * n + 1) * sizeof(double));
  double* const numbers = memory.ptr<double>();
  int* const errors = reinterpret_cast<int*>(numbers + rows * n);
  FS_CHECK(cudaMemsetAsync(errors, 0, sizeof(int), stream) == cudaSuccess, "multinomial: cudaMemsetAsync failed");
  const PhiloxState state =
      philox_state(*a.generator, static_cast<uint64_t>(replacement ? out.numel : p.view().numel));
  const unsigned blocks = grid_for(rows, 1, 1 << 16);
  dispatch_float(p.view().dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (replacement)
      FS_LAUNCH((add_up_weights<T>), blocks, kChoiceThreads, 0, stream, p.template ptr<T>(), numbers, rows, n,
                errors);
    else
      FS_LAUNCH((choose_without<T>), blocks, kChoiceThreads, 0, stream, p.template ptr<T>(),
                reinterpret_cast<compute_type<T>*>(numbers), out.ptr<int64_t>(), rows, n, k, errors, state);
  });
  if (replacement)
    FS_LAUNCH(choose_with, grid_for(out.numel, kChoiceThreads, 1 << 16), kChoiceThreads, 0, stream, numbers,
              out.ptr<int64_t>(), out.numel, n, k, state);
  if (is_capturing(stream)) return;
  int found = 0;
  const bool read = cudaMemcpyAsync(&found, errors, sizeof found, cudaMemcpyDeviceToHost, stream) == cudaSuccess &&
                    cudaStreamSynchronize(stream) == cudaSuccess;
  FS_CHECK(read, "multinomial: ", cudaGetErrorString(cudaGetLastError()));
  if (!replacement) {
    FS_CHECK(!(found & (kNegative | kNotFinite)), "probability tensor contains either `inf`, `nan` or element < 0");
    FS_CHECK(!(found & kZeroSum), "invalid multinomial distribution (sum of probabilities <= 0)");
    return;
  }
  FS_CHECK(!(found & kNegative), "invalid multinomial distribution (encountering probability entry < 0)");
  FS_CHECK(!(found & kNotFinite),
           "invalid multinomial distribution (encountering probability entry = infinity or NaN)");
  FS_CHECK(!(found & kZeroSum), "invalid multinomial distribution (sum of probabilities <= 0)");
}

}  // namespace fireseed::cuda
