// Merging partial softmaxes: those of a workgroup's waves through LDS, those of a row's parts through the workspace. With M the
// largest maximum, part s counts with weight 2^(m_s - M).
#pragma once
#include "product_tile.h"

namespace product {

constexpr int HEADS_PER_WAVE = BLOCK_HEADS / WAVES; // in the merge
constexpr int QUADS = HEAD_DIM / 4 / WAVE_SIZE;     // that a lane has of a head: dims 4 lane .. + 3 and 256 + 4 lane .. + 3

struct Shared {
  alignas(1024) char tile[WAVES][WAVE_LDS];
  alignas(16) char q[BLOCK_HEADS * HEAD_DIM * 2];
  alignas(16) float max[BLOCK_HEADS][WAVES], sum[BLOCK_HEADS][WAVES];
  bool last;
};

// A lane's share of one head, not normalised.
struct Part {
  f32x4 acc[QUADS];
  float max, sum;

  __device__ __forceinline__ void add(const f32x4 (&other)[QUADS], float weight) {
#pragma unroll
    for (int i = 0; i < QUADS; ++i)
      acc[i] += other[i] * weight;
  }
};

// A wave leaves its accumulators as [n][g][m] quads, heads exchanged by XOR so that neither side meets a bank twice.
__device__ __forceinline__ void leave(Shared& lds, const Online& state, int wave, int lane) { // phase: merge
  const int m = lane % 16, g = lane / 16;
  if (g == 0) {
    lds.max[m][wave] = state.max;
    lds.sum[m][wave] = state.sum[0];
  }
#pragma unroll
  for (int n = 0; n < OUT_TILES; ++n)
    *reinterpret_cast<f32x4*>(lds.tile[wave] + n * 1024 + g * 256 + (m ^ ((4 * n + g) & 15)) * 16) = state.acc[n];
}

// Heads first_head .. of this wave's waves merged.
__device__ __forceinline__ void merge_waves(Part (&parts)[HEADS_PER_WAVE], const Shared& lds, int first_head, int lane) {
  // Lane 16 g + m: maximum, sum and weights of head m.
  const f32x4 max = *reinterpret_cast<const f32x4*>(lds.max[lane % 16]),
              sum = *reinterpret_cast<const f32x4*>(lds.sum[lane % 16]);
  const float most = __builtin_fmaxf(__builtin_fmaxf(max[0], max[1]), __builtin_fmaxf(max[2], max[3]));
  f32x4 weight;
#pragma unroll
  for (int w = 0; w < WAVES; ++w)
    weight[w] = exp2_approx(max[w] - most);
  const float total = sum[0] * weight[0] + sum[1] * weight[1] + sum[2] * weight[2] + sum[3] * weight[3];
  int at[QUADS]; // in quads of four dims, [2 slot + half]
#pragma unroll
  for (int i = 0; i < QUADS; ++i)
    at[i] = 2 * slot_of_dim(4 * (WAVE_SIZE * i + lane)) + (lane & 1);
#pragma unroll
  for (int i = 0; i < HEADS_PER_WAVE; ++i) {
    parts[i] = {{}, broadcast_lane(most, first_head + i), broadcast_lane(total, first_head + i)};
#pragma unroll
    for (int w = 0; w < WAVES; ++w) {
      f32x4 acc[QUADS];
#pragma unroll
      for (int quad = 0; quad < QUADS; ++quad)
        acc[quad] = *reinterpret_cast<const f32x4*>(lds.tile[w] + at[quad] * 256 + ((first_head + i) ^ (at[quad] & 15)) * 16);
      parts[i].add(acc, broadcast_lane(weight[w], first_head + i));
    }
  }
}

// See base_tile.h. `sink` as `sink_of` gives it.
__device__ __forceinline__ void finish(const DecodeParams& p, int row, int head, const Part& part, float sink,
                                       int lane) { // phase: store
  const float denominator = p.attn_sink != nullptr ? part.sum + exp2_approx(sink * LOG2_E - part.max) : part.sum;
  const float inverse = part.sum == 0.0f ? 0.0f : rcp_approx(denominator);
  bf16* const out = p.out + row * p.out_row_stride + head * p.out_head_stride + 4 * lane;
#pragma unroll
  for (int i = 0; i < QUADS; ++i)
    store_unaligned(out + 4 * WAVE_SIZE * i, __builtin_convertvector(part.acc[i] * inverse, bf16x4));
  if (p.lse != nullptr && lane == 0)
    p.lse[static_cast<int64_t>(row) * p.heads + head] = log_sum_exp(part.max, part.sum);
}

// One wave merges and writes the parts of heads head .. head + min(HEADS, heads) - 1. CHUNK splits are asked for together.
template <int HEADS, int CHUNK>
__device__ __forceinline__ void merge_parts(const DecodeParams& p, int row, int head, int heads, int lane) {
  typedef f32x4 Values[CHUNK][HEADS][QUADS];
  const int split = lane % MAX_SPLIT, mine = lane / MAX_SPLIT;                       // whose maximum and sum a lane has
  const int64_t first_part = static_cast<int64_t>(row) * p.split_k * p.heads + head; // split s is s * heads further
  f32x2 ml = load_unaligned<f32x2>(p.partial_ml +
                                   (first_part + min(split, p.split_k - 1) * p.heads + min(mine, min(HEADS, heads) - 1)) * 2);
  const float sink = sink_of(p, head + mine);
  const char* const acc = reinterpret_cast<const char*>(static_cast<const float*>(p.partial_acc) + first_part * HEAD_DIM);
  const uint32_t split_bytes = p.heads * HEAD_DIM * 4;
  // Past the last split, or head (heads may be 0 or less), the last again: its weight is zero, or nobody stores it.
  const auto load = [&](Values& values, int first) {
#pragma unroll
    for (int s = 0; s < CHUNK; ++s)
#pragma unroll
      for (int i = 0; i < HEADS; ++i)
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad)
          values[s][i][quad] =
              *reinterpret_cast<const f32x4*>(acc + min(first + s, p.split_k - 1) * split_bytes +
                                              min(i, heads - 1) * HEAD_DIM * 4 + (WAVE_SIZE * quad + lane) * 16u);
  };
  Values values[2];
  load(values[0], 0);
  __builtin_amdgcn_sched_barrier(0); // all of this is asked for before any of it is wanted
  if (split >= p.split_k)
    ml = {NO_MAX, 0.0f};
  const float most = max_of_row(ml[0]), weight = exp2_approx(ml[0] - most), total = sum_of_row(ml[1] * weight);
  Part parts[HEADS];
#pragma unroll
  for (int i = 0; i < HEADS; ++i)
    parts[i] = {{}, broadcast_lane(most, MAX_SPLIT * i), broadcast_lane(total, MAX_SPLIT * i)};
#pragma unroll
  for (int first = 0; first < MAX_SPLIT; first += CHUNK) {
    if (first >= p.split_k)
      break;
    if (first + CHUNK < MAX_SPLIT && first + CHUNK < p.split_k)
      load(values[first / CHUNK % 2 ^ 1], first + CHUNK);
#pragma unroll
    for (int s = 0; s < CHUNK; ++s)
#pragma unroll
      for (int i = 0; i < HEADS; ++i)
        parts[i].add(values[first / CHUNK % 2][s][i], broadcast_lane(weight, MAX_SPLIT * i + first + s));
  }
#pragma unroll
  for (int i = 0; i < HEADS; ++i)
    if (i < heads)
      finish(p, row, head + i, parts[i], broadcast_lane(sink, MAX_SPLIT * i), lane);
}

} // namespace product
