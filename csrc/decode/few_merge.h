// Merging partial softmaxes: those of a workgroup's waves through LDS, those of a row's parts through the workspace. With M the
// largest maximum, part s counts with weight 2^(m_s - M). In a merge, lane 16 h + j has head h of four, and of its dims four of
// every 64: 4 j .. + 3.
#pragma once
#include "product_tile.h"

namespace few {

using namespace product;

constexpr int HEADS_PER_WAVE = BLOCK_HEADS / WAVES; // in the merge
constexpr int MAX_SPLIT = 16;

struct Shared {
  alignas(1024) char tile[WAVES][WAVE_LDS];
  alignas(16) char q[BLOCK_HEADS * HEAD_DIM * 2];
  alignas(16) float max[BLOCK_HEADS][WAVES], sum[BLOCK_HEADS][WAVES];
  bool last;
};

// A lane's quads of one head, not normalised; of one of SHARES shares of the dims.
template <int SHARES> struct PartOf {
  static constexpr int COUNT = HEAD_DIM / SHARES / 64;
  f32x4 acc[COUNT];
  float max, sum;

  static __device__ __forceinline__ int dim(int share, int i, int lane) { return 64 * (COUNT * share + i) + 4 * (lane % 16); }
  __device__ __forceinline__ void add(const f32x4 (&other)[COUNT], float weight) {
#pragma unroll
    for (int i = 0; i < COUNT; ++i)
      acc[i] += other[i] * weight;
  }
};

// A wave leaves its accumulators as [n][g][m] quads, heads exchanged by XOR so that neither side meets a bank twice.
template <int SHARES>
__device__ __forceinline__ void leave(Shared& lds, const OnlineOf<SHARES>& state, int wave, int lane) { // phase: merge
  const int m = lane % 16, g = lane / 16;
  if (g == 0) {
    lds.max[m][wave] = state.max;
    lds.sum[m][wave] = state.sum[0];
  }
#pragma unroll
  for (int n = 0; n < OUT_TILES / SHARES; ++n)
    *reinterpret_cast<f32x4*>(lds.tile[wave] + n * 1024 + g * 256 + (m ^ ((4 * n + g) & 15)) * 16) = state.acc[n];
}

// Head `head` of the block, of all waves.
template <int SHARES>
__device__ __forceinline__ void merge_waves(PartOf<SHARES>& part, const Shared& lds, int head, int lane, int share = 0) {
  typedef PartOf<SHARES> Mine;
  const f32x4 max = *reinterpret_cast<const f32x4*>(lds.max[head]), sum = *reinterpret_cast<const f32x4*>(lds.sum[head]);
  part = {{}, __builtin_fmaxf(__builtin_fmaxf(max[0], max[1]), __builtin_fmaxf(max[2], max[3])), 0.0f};
  f32x4 acc[WAVES][Mine::COUNT];
#pragma unroll
  for (int w = 0; w < WAVES; ++w)
#pragma unroll
    for (int i = 0; i < Mine::COUNT; ++i) {
      const int dim = Mine::dim(share, i, lane),
                at = 2 * slot_of_dim(dim) + (lane & 1) - 16 * Mine::COUNT * share; // [2 slot + half]
      acc[w][i] = *reinterpret_cast<const f32x4*>(lds.tile[w] + at * 256 + (head ^ (at & 15)) * 16);
    }
#pragma unroll
  for (int w = 0; w < WAVES; ++w) {
    const float weight = exp2_approx(max[w] - part.max);
    part.sum += sum[w] * weight;
    part.add(acc[w], weight);
  }
}

// A head's sink, natural log; asked for long before it is wanted, and without a branch, behind which the wave would wait for it.
__device__ __forceinline__ float sink_of(const DecodeParams& p, int head) {                             // phase: merge
  const float* const from = p.attn_sink != nullptr ? p.attn_sink : reinterpret_cast<const float*>(p.q); // any numbers
  return from[min(head, p.heads - 1)];
}

// See base_tile.h. `sink` as `sink_of` gives it. Nothing for a head past the last one.
template <int SHARES>
__device__ __forceinline__ void finish(const DecodeParams& p, int row, int head, const PartOf<SHARES>& part, float sink, int lane,
                                       int share = 0) { // phase: store
  const float denominator = p.attn_sink != nullptr ? part.sum + exp2_approx(sink * LOG2_E - part.max) : part.sum;
  const float inverse = part.sum == 0.0f ? 0.0f : rcp_approx(denominator), lse = log_sum_exp(part.max, part.sum);
  bf16* const out = p.out + row * p.out_row_stride + head * p.out_head_stride;
  if (head < p.heads) {
#pragma unroll
    for (int i = 0; i < part.COUNT; ++i)
      store_unaligned(out + part.dim(share, i, lane), __builtin_convertvector(part.acc[i] * inverse, bf16x4));
    if (lane % 16 == 0 && share == 0 && p.lse != nullptr)
      p.lse[static_cast<int64_t>(row) * p.heads + head] = lse;
  }
}

// Where a part's maximum and sum are. Every share has its own, since each counts its own arrivals.
__device__ __forceinline__ int64_t ml_at(const DecodeParams& p, int64_t part_head, int share) {
  return (static_cast<int64_t>(share) * p.rows * p.split_k * p.heads + part_head) * 2;
}

// The same for part `split` of a row, in the workspace.
template <int SHARES>
__device__ __forceinline__ void keep(const DecodeParams& p, int row, int split, int head, const PartOf<SHARES>& part, int lane,
                                     int share = 0) { // phase: store
  if (head < p.heads) {
    const int64_t at = (static_cast<int64_t>(row) * p.split_k + split) * p.heads + head;
    float* const acc = static_cast<float*>(p.partial_acc) + at * HEAD_DIM;
#pragma unroll
    for (int i = 0; i < part.COUNT; ++i)
      *reinterpret_cast<f32x4*>(acc + part.dim(share, i, lane)) = part.acc[i];
    if (lane % 16 == 0)
      store_unaligned(p.partial_ml + ml_at(p, at, share), f32x2{part.max, part.sum});
  }
}

// Of the 16 lanes of a row: one's value (CONTROL 0x150 + lane), or that of the lane n further (0x120 + n).
template <int CONTROL> __device__ __forceinline__ float from_row(float x) {
  return __builtin_bit_cast(float, __builtin_amdgcn_update_dpp(0, __builtin_bit_cast(int, x), CONTROL, 0xf, 0xf, false));
}
__device__ __forceinline__ float max_of_row(float x) {
  x = __builtin_fmaxf(x, from_row<0x128>(x));
  x = __builtin_fmaxf(x, from_row<0x124>(x));
  x = __builtin_fmaxf(x, from_row<0x122>(x));
  return __builtin_fmaxf(x, from_row<0x121>(x));
}
__device__ __forceinline__ float sum_of_row(float x) {
  x += from_row<0x128>(x);
  x += from_row<0x124>(x);
  x += from_row<0x122>(x);
  return x + from_row<0x121>(x);
}

// One wave merges the `parts` parts of a row, at most MOST, of four heads, and writes the result.
template <int MOST, int SHARES>
__device__ __forceinline__ void merge_parts(const DecodeParams& p, int row, int head, int parts, float sink, int lane, int share,
                                            int ml_share) { // phase: merge
  typedef PartOf<SHARES> Mine;
  const int split = lane % 16, mine = min(head, p.heads - 1); // whose maximum and sum a lane has
  const int64_t first_part = static_cast<int64_t>(row) * p.split_k * p.heads;
  f32x2 ml = load_unaligned<f32x2>(p.partial_ml + ml_at(p, first_part + min(split, parts - 1) * p.heads + mine, ml_share));
  const char* const acc = reinterpret_cast<const char*>(static_cast<const float*>(p.partial_acc) + first_part * HEAD_DIM);
  const uint32_t split_bytes = p.heads * HEAD_DIM * 4, mine_bytes = (mine * HEAD_DIM + Mine::dim(share, 0, lane)) * 4;
  // In fours; past the last part the last again: its weight is zero.
  f32x4 values[MOST][Mine::COUNT];
  const auto four = [&](auto first) {
#pragma unroll
    for (int s = first.value; s < first.value + 4; ++s)
#pragma unroll
      for (int i = 0; i < Mine::COUNT; ++i)
        values[s][i] = *reinterpret_cast<const f32x4*>(acc + min(s, parts - 1) * split_bytes + mine_bytes + 256 * i);
  };
  const auto in_fours = [&](const auto& f) {
    f(Constant<0>{});
    if constexpr (MOST > 4) {
      if (LIKELY(parts > 4))
        f(Constant<4>{});
      if (UNLIKELY(parts > 8)) {
        f(Constant<8>{});
        if (UNLIKELY(parts > 12))
          f(Constant<12>{});
      }
    }
  };
  in_fours(four);
  if (split >= parts)
    ml = {NO_MAX, 0.0f};
  const float most = max_of_row(ml[0]), weight = exp2_approx(ml[0] - most);
  Mine part = {{}, most, sum_of_row(ml[1] * weight)};
  in_fours([&](auto first) {
    unrolled<4>([&](auto s) {
      constexpr int SPLIT = first.value + s.value;
      part.add(values[SPLIT], from_row<0x150 + SPLIT>(weight));
    });
  });
  finish(p, row, head, part, sink, lane, share);
}

} // namespace few
