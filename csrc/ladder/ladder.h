// What the versions of the ladder share, beside the pieces of csrc/decode that they include: where a token's record lies, the
// online softmax of scores that are in registers, and the store of results. What one version adds stands in its own file.
#pragma once
#include "decode/base_tile.h"

namespace ladder {

using namespace base;

constexpr int QUARTERS = HEAD_DIM / DIMS_PER_WAVE;

// A token's bytes, null for a position past the list or a slot outside the cache: then nothing may be read.
struct Record {
  const uint8_t *data, *scales;
};

__device__ __forceinline__ Record record_of(const Segment& segment, Span span, int position) { // phase: gather
  const int slot = position < span.length ? span.slots[position] : -1;
  if (slot < 0 || slot >= segment.num_slots)
    return {nullptr, nullptr};
  const uint32_t block = static_cast<uint32_t>(slot) / static_cast<uint32_t>(segment.block_size);
  const uint32_t place = static_cast<uint32_t>(slot) % static_cast<uint32_t>(segment.block_size);
  const uint8_t* const records = segment.cache + static_cast<int64_t>(block) * segment.block_stride;
  return {records + static_cast<int64_t>(place) * DATA_BYTES,
          records + static_cast<int64_t>(segment.block_size) * DATA_BYTES + static_cast<int64_t>(place) * SCALE_BYTES};
}

// The softmax of base_tile.h for scores in registers: the lane's head is lane % 16, of which the lanes 16, 32 and 48 further have
// the other tokens. Gives P; `alpha` is what everything summed before counts from now on.
__device__ __forceinline__ bf16x8 weigh(f32x4 low, f32x4 high, float& max, float& sum, float& alpha, int lane) { // phase: softmax
  float raised = max;
#pragma unroll
  for (int i = 0; i < 4; ++i)
    raised = __builtin_fmaxf(raised, __builtin_fmaxf(low[i], high[i]));
  raised = __builtin_fmaxf(raised, from_lane(raised, lane ^ 16));
  raised = __builtin_fmaxf(raised, from_lane(raised, lane ^ 32));
  alpha = exp2_approx(max - raised);
  max = raised;
  bf16x8 p;
  float added = 0.0f;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    p[i] = static_cast<bf16>(exp2_approx((i < 4 ? low[i % 4] : high[i % 4]) - raised));
    added += static_cast<float>(p[i]);
  }
  added += from_lane(added, lane ^ 16);
  added += from_lane(added, lane ^ 32);
  sum = sum * alpha + added;
  return p;
}

// Accumulators whose lane holds heads 4 (lane / 16) .. + 3.
__device__ __forceinline__ void rescale(f32x4 (&acc)[OUT_TILES], float alpha, int lane) {
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const float of_head = from_lane(alpha, 4 * (lane / 16) + r);
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n)
      acc[n][r] *= of_head;
  }
}

// Writes what one wave has: acc[n][r] of head 4 (lane / 16) + r, dim dim_of(n); max and sum of head lane % 16.
template <typename Dim>
__device__ __forceinline__ void store(const DecodeParams& p, int row, int head0, const Online& state, int lane,
                                      Dim dim_of) { // phase: store
  if (p.lse != nullptr && lane < BLOCK_HEADS && head0 + lane < p.heads)
    p.lse[static_cast<int64_t>(row) * p.heads + head0 + lane] = log_sum_exp(state.max, state.sum);
  const float inverse = inverse_denominator(p, head0 + lane % 16, state.max, state.sum);
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int head = head0 + 4 * (lane / 16) + r;
    const float of_head = from_lane(inverse, 4 * (lane / 16) + r);
    if (head >= p.heads)
      continue;
#pragma unroll
    for (int n = 0; n < OUT_TILES; ++n)
      p.out[row * p.out_row_stride + head * p.out_head_stride + dim_of(n)] = static_cast<bf16>(state.acc[n][r] * of_head);
  }
}

// The loop of the base design, of a version that has `Shared`, stage_q, gather, score, softmax and accumulate in its own way.
template <typename Version> __device__ __forceinline__ void decode(const DecodeParams& p) { // phase: none
  __shared__ typename Version::Shared lds;
  const int tid = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS;
  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE;
  const Span main = span_of(p.main_list, row), extra = span_of(p.extra_list, row);
  const int main_tiles = tiles_in(main.length), tiles = main_tiles + tiles_in(extra.length);
  Online state = {};
  state.max = NO_MAX;
  Version::stage_q(lds, p, row, head0, tid);
  for (int tile = 0; tile < tiles; ++tile) {
    const bool in_main = tile < main_tiles;
    Version::gather(lds, in_main ? p.main : p.extra, in_main ? main : extra, in_main ? tile : tile - main_tiles, tid);
    __syncthreads();
    if (wave == 0)
      Version::score(lds, p.scale * LOG2_E, lane);
    __syncthreads();
    const bf16x8 weights = Version::softmax(lds, state, lane);
    Version::accumulate(lds, state, weights, wave, lane);
    __syncthreads();
  }
  store(p, row, head0, state, lane, [=](int n) { return DIMS_PER_WAVE * wave + 16 * n + lane % 16; });
}

} // namespace ladder
