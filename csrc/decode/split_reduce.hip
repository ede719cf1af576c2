// Split-K, second launch: grid (rows, heads), 256 threads, two output dims a thread. Merges the partial softmaxes of a head: with
// M the largest maximum, split s counts with weight 2^(m_s - M). Lane s of each wave holds split s's maximum, sum and weight, so
// all are loaded at once and none needs an indexed register (which would live in scratch memory).
#if defined(__gfx950__)
#include "base_tile.h"

using namespace base;

constexpr int MAX_SPLIT = 16;

template <typename Partial> __device__ __forceinline__ void split_reduce(const DecodeParams& p) { // phase: merge
  typedef Partial Pair __attribute__((ext_vector_type(2)));
  const int tid = threadIdx.x, row = blockIdx.x, head = blockIdx.y, lane = tid % WAVE_SIZE, mine = lane % MAX_SPLIT;
  const int64_t first = static_cast<int64_t>(row) * p.split_k * p.heads + head; // split s is s * heads further

  float max = NO_MAX, sum = 0.0f;
  if (mine < p.split_k) {
    const f32x2 ml = load_unaligned<f32x2>(p.partial_ml + (first + mine * p.heads) * 2);
    max = ml[0];
    sum = ml[1];
  }
  float merged_max = max;
#pragma unroll
  for (int mask = 1; mask < MAX_SPLIT; mask *= 2)
    merged_max = __builtin_fmaxf(merged_max, from_lane(merged_max, lane ^ mask));
  const float weight = exp2_approx(max - merged_max);
  float merged_sum = sum * weight;
#pragma unroll
  for (int mask = 1; mask < MAX_SPLIT; mask *= 2)
    merged_sum += from_lane(merged_sum, lane ^ mask);

  // A split that attended nothing has a sum of 0 and did not write its accumulators: leave out whatever is there, NaN included,
  // by selecting; multiplying by 0 would not.
  const uint64_t active_splits = __builtin_amdgcn_ballot_w64(sum != 0.0f);
  const Partial* const acc = static_cast<const Partial*>(p.partial_acc) + first * HEAD_DIM + 2 * tid;
  f32x2 total = {};
  for (int base = 0; base < p.split_k; base += 4) {
#pragma unroll
    for (int i = 0; i < 4; ++i) { // four loads in flight; one past the last split reads the last again, and is not active
      const int split = base + i, stored = split < p.split_k ? split : p.split_k - 1;
      const Pair value = *reinterpret_cast<const Pair*>(acc + static_cast<int64_t>(stored) * p.heads * HEAD_DIM);
      const f32x2 weighted = __builtin_convertvector(value, f32x2) * broadcast_lane(weight, split);
      total += (active_splits >> split & 1) ? weighted : f32x2{};
    }
  }
  const float inverse = inverse_denominator(p, head, merged_max, merged_sum);
  store_unaligned(p.out + row * p.out_row_stride + head * p.out_head_stride + 2 * tid,
                  __builtin_convertvector(total * inverse, bf16x2));
  if (p.lse != nullptr && tid == 0)
    p.lse[static_cast<int64_t>(row) * p.heads + head] = log_sum_exp(merged_max, merged_sum);
}

extern "C" __global__ __launch_bounds__(THREADS, 8) void mla_decode_split_reduce_f32(const DecodeParams p) {
  split_reduce<float>(p);
}

extern "C" __global__ __launch_bounds__(THREADS, 8) void mla_decode_split_reduce_bf16(const DecodeParams p) {
  split_reduce<bf16>(p);
}
#endif
