// What a row's part leaves: its share of the output, or partial sums in the workspace, which the part that comes last merges.
// With M the largest maximum, part s counts with weight 2^(m_s - M).
#pragma once
#include "few_tile.h"

namespace few {

// See base_tile.h. Dims dim .. + 3 of a head; its lane `first` of the first share writes the logarithm. `sink` as `sink_of` gives
// it. Nothing for a head past the last one.
__device__ __forceinline__ void finish(const DecodeParams& p, int row, int head, int dim, const Part& part, float sink,
                                       bool first) { // phase: store
  const float denominator = p.attn_sink != nullptr ? part.sum + exp2_approx(sink * LOG2_E - part.max) : part.sum;
  const float inverse = part.sum == 0.0f ? 0.0f : rcp_approx(denominator), lse = log_sum_exp(part.max, part.sum);
  bf16* const out = p.out + row * p.out_row_stride + head * p.out_head_stride;
  if (head < p.heads) {
    store_unaligned(out + dim, __builtin_convertvector(part.acc * inverse, bf16x4));
    if (first && p.lse != nullptr)
      p.lse[static_cast<int64_t>(row) * p.heads + head] = lse;
  }
}

// Where a part's maximum and sum are. Every share has its own, since each counts its own arrivals.
__device__ __forceinline__ int64_t ml_at(const DecodeParams& p, int64_t part_head, int share) {
  return (static_cast<int64_t>(share) * p.rows * p.split_k * p.heads + part_head) * 2;
}

// The same for part `split` of a row, in the workspace.
__device__ __forceinline__ void keep(const DecodeParams& p, int row, int split, int head, int dim, const Part& part, bool first,
                                     int share) { // phase: store
  if (head < p.heads) {
    const int64_t at = (static_cast<int64_t>(row) * p.split_k + split) * p.heads + head;
    *reinterpret_cast<f32x4*>(static_cast<float*>(p.partial_acc) + at * HEAD_DIM + dim) = part.acc;
    if (first)
      store_unaligned(p.partial_ml + ml_at(p, at, share), f32x2{part.max, part.sum});
  }
}

// One wave merges the `parts` parts of a row, of two heads from first_head, and writes the result.
__device__ __forceinline__ void merge_parts(const DecodeParams& p, int row, int first_head, int parts, int lane,
                                            int share) { // phase: merge
  const int head = first_head + lane / 32, dim = DIMS * share + 4 * (lane % 32);
  const int split = lane % 16, mine = min(head, p.heads - 1); // whose maximum and sum a lane has
  const int64_t first_part = static_cast<int64_t>(row) * p.split_k * p.heads;
  f32x2 ml = load_unaligned<f32x2>(p.partial_ml + ml_at(p, first_part + min(split, parts - 1) * p.heads + mine, share));
  const char* const acc = reinterpret_cast<const char*>(static_cast<const float*>(p.partial_acc) + first_part * HEAD_DIM);
  const uint32_t split_bytes = p.heads * HEAD_DIM * 4, mine_bytes = (mine * HEAD_DIM + dim) * 4;
  const float sink = sink_of(p, head);
  // In fours; past the last part the last again: its weight is zero.
  f32x4 values[MAX_SPLIT];
  const auto four = [&](auto first) {
#pragma unroll
    for (int s = first.value; s < first.value + 4; ++s)
      values[s] = *reinterpret_cast<const f32x4*>(acc + min(s, parts - 1) * split_bytes + mine_bytes);
  };
  const auto in_fours = [&](const auto& f) {
    f(Constant<0>{});
    if (LIKELY(parts > 4))
      f(Constant<4>{});
    if (UNLIKELY(parts > 8)) {
      f(Constant<8>{});
      if (UNLIKELY(parts > 12))
        f(Constant<12>{});
    }
  };
  in_fours(four);
  if (split >= parts)
    ml = {NO_MAX, 0.0f};
  const float most = max_of_row(ml[0]), weight = exp2_approx(ml[0] - most);
  Part part = {{}, most, sum_of_row(ml[1] * weight)};
  in_fours([&](auto first) {
    unrolled<4>([&](auto s) { part.acc += values[first.value + s.value] * from_row<0x150 + first.value + s.value>(weight); });
  });
  finish(p, row, head, dim, part, sink, lane % 32 == 0 && share == 0);
}

} // namespace few
