// Step 1, scalar: attention as it is written down, a token at a time.
//
// The idea. A wave takes one head of one row; a lane holds 8 of the 512 dims, of the query and of the output. For each token:
// bring 8 values, multiply, add up over the lanes, take the exponential, add the weighted values. Whatever comes later computes
// this.
//
// The layout. Nothing is shared and nothing is stored: 8 values of Q and 8 sums live in registers, LDS is not used at all.
//
// The price. A record serves one head, so all 16 heads of a row bring and convert the same bytes again. A dot product costs a
// lane 8 products, and then six exchanges between lanes (ds_bpermute), each waiting for the one before. And every step of a token
// waits for the one before it: index, record, score, weight; nothing else is in flight.
//
// The gain. None yet, this is what others are measured by: 69,632 wave instructions for 32 tokens and 16 heads. Times here and
// below are modelled, for one row of 128 + 1,024 tokens and 16 heads (docs/ladder.md): 1,139 us, more than half of it waiting for
// memory.
#if defined(__gfx950__)
#include "ladder.h"

namespace ladder {

typedef float f32x8 __attribute__((ext_vector_type(8)));

// Dims 8 lane .. + 7 of a token: 56 lanes have fp8, the last 8 bf16.
__device__ __forceinline__ f32x8 values_of(Record record, int lane) { // phase: dequantise
  const int bf16_lane = lane - NOPE_DIM / 8;
  if (bf16_lane >= 0)
    return __builtin_convertvector(load_unaligned<bf16x8>(record.data + ROPE_OFFSET + 16 * bf16_lane), f32x8);
  const u32x2 raw = load_unaligned<u32x2>(record.data + 8 * lane);
  const f32x4 low = {cvt_f32_fp8<0>(raw[0]), cvt_f32_fp8<1>(raw[0]), cvt_f32_fp8<2>(raw[0]), cvt_f32_fp8<3>(raw[0])};
  const f32x4 high = {cvt_f32_fp8<0>(raw[1]), cvt_f32_fp8<1>(raw[1]), cvt_f32_fp8<2>(raw[1]), cvt_f32_fp8<3>(raw[1])};
  return __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7) * scale_from_ue8m0(record.scales[8 * lane / GROUP_DIM]);
}

struct Head {
  f32x8 acc;
  float max, sum;
};

__device__ __forceinline__ void attend(Head& state, const Segment& segment, Span span, f32x8 q, int lane) { // phase: none
  for (int position = 0; position < span.length; ++position) {
    const Record record = record_of(segment, span, position);
    if (record.data == nullptr)
      continue;
    const f32x8 value = values_of(record, lane), product = q * value; // phase: QK
    float score = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i)
      score += product[i];
#pragma unroll
    for (int mask = 1; mask < WAVE_SIZE; mask *= 2)
      score += from_lane(score, lane ^ mask);
    const float raised = __builtin_fmaxf(state.max, score); // phase: softmax
    const float alpha = exp2_approx(state.max - raised), weight = exp2_approx(score - raised);
    state.max = raised;
    state.sum = state.sum * alpha + weight;
    state.acc = state.acc * alpha + value * weight; // phase: PV
  } // phase: none
}

} // namespace ladder

extern "C" __global__ __launch_bounds__(WAVE_SIZE, 8) void mla_ladder_scalar(const DecodeParams p) {
  using namespace ladder;
  const int lane = threadIdx.x, row = blockIdx.x, head = blockIdx.y;
  const bf16x8 q = load_unaligned<bf16x8>(p.q + row * p.q_row_stride + head * p.q_head_stride + 8 * lane); // phase: load q
  const f32x8 scaled = __builtin_convertvector(q, f32x8) * (p.scale * LOG2_E);                             // phase: none
  Head state = {{}, NO_MAX, 0.0f};
  attend(state, p.main, span_of(p.main_list, row), scaled, lane);
  attend(state, p.extra, span_of(p.extra_list, row), scaled, lane);
  if (p.lse != nullptr && lane == 0) // phase: store
    p.lse[static_cast<int64_t>(row) * p.heads + head] = log_sum_exp(state.max, state.sum);
  const f32x8 out = state.acc * inverse_denominator(p, head, state.max, state.sum);
  store_unaligned(p.out + row * p.out_row_stride + head * p.out_head_stride + 8 * lane, __builtin_convertvector(out, bf16x8));
}
#endif
