// The tile of `few`: eight waves share 128 tokens, 16 a wave; SHARES workgroups divide the output's dims among them.
//
// The idea. Where a launch has few workgroups, time is a chain of reads that wait for each other, and then for an address unit:
// so a wave asks for its 16 tokens, in pieces, and multiplies what has come. Every share scores all dims, but begins with its
// own, and leaves only these in LDS. A wave weighs its tokens by their own maximum.
//   One tile: behind the only barrier each wave has 16 dims of all tokens, a product for each wave's tokens, and adds these by
//     what their maxima say.
//   More tiles: a wave sums its tokens' products until the end, without a barrier, and then all sums are exchanged through LDS.
//
// The layout. As in shared_tile.h, but piece i < 7 has group (i + 2 share) % 7 of 64 dims: a share's dims are then those of
// pieces 0 and 1, the last one's those of piece 0 and of the bf16 part. V in LDS: [wave][16 tokens][16 slots of 8 dims], slots
// exchanged by XOR.
#pragma once
#include "shared_tile.h"

namespace few {

using namespace product;
using shared::EARLY, shared::list_at, shared::load_q, shared::place_at, shared::Place, shared::Raw;
using shared::SHARE, shared::Source, shared::STRIP, shared::THREADS, shared::TILE_TOKENS, shared::Tiles, shared::tiles_of;
using shared::WAVES, shared::HEADS_PER_WAVE, shared::locate, shared::ALL;

constexpr int SHARES = 4;               // workgroups that divide the dims of 16 heads among them
constexpr int DIMS = HEAD_DIM / SHARES; // of a share; 16 for each wave
constexpr int V_BYTES = DIMS * 2;       // of a token
constexpr int AHEAD = 3;                // pieces of a single tile asked for before any is multiplied: more would hold the wave
constexpr int TAKE_AHEAD = 3;           // the same of q, from LDS

struct Shared {
  alignas(1024) char tile[WAVES][WAVES * WAVE_SIZE * 16]; // a wave's V, and later its accumulators
  alignas(16) char q[BLOCK_HEADS * HEAD_DIM * 2];
  bf16x4 weights[WAVES][WAVE_SIZE];
  f32x2 max_sum[WAVES][BLOCK_HEADS]; // of a wave's tokens
  bool last;
};

// Four dims of a head, not normalised.
struct Part {
  f32x4 acc;
  float max, sum;
};

// `b` where a bit of `mask` is set, else `a`.
__device__ __forceinline__ bf16x8 either(bf16x8 a, bf16x8 b, uint32_t mask) {
  const u32x4 x = __builtin_bit_cast(u32x4, a), y = __builtin_bit_cast(u32x4, b);
  return __builtin_bit_cast(bf16x8, (y & mask) | (x & ~mask));
}

// Where each piece begins in a record, in bytes.
struct Order {
  uint32_t at[PIECES];
};
__device__ __forceinline__ Order order_of(int share) {
  Order order;
#pragma unroll
  for (int i = 0; i < PIECES; ++i) {
    const int group = i + 2 * share;
    order.at[i] = 64 * (i < GROUPS ? group < GROUPS ? group : group - GROUPS : i);
    if (i < GROUPS)
      asm volatile("" : "+v"(order.at[i])); // now; scalar registers are few
  }
  return order;
}

__device__ __forceinline__ void load(Raw& raw, const Source& source, const Order& order, int i) { // piece i, or the scales
  if (i < 0)
    raw.scale = *(GlobalOf<u32x2>)source.scale;
  else
    raw.data[i] = *(GlobalOf<u32x4>)(source.data + order.at[i]);
}

// This lane's slots of a part's first tiles.
struct Ahead {
  uint32_t slot[3];
};
__device__ __forceinline__ uint32_t slot_of(const Row& row, const Tiles& tiles, int tile, uint32_t end, int wave, int m) {
  const shared::List list = list_at(row, tiles, min(tile, static_cast<int>(end) - 1));
  const uint32_t position = max(min(list.first + STRIP * wave + m, list.last), 0);
  return *reinterpret_cast<const uint32_t*>(reinterpret_cast<const char*>(list.slots) + position * 4);
}

// Tiles begin .. end - 1 of a row, for 16 heads and one share. `ahead` and `part_of_q` may still be on their way.
template <typename F>
__device__ __forceinline__ void attend(Part& state, const Row& row, const Tiles& tiles, const bf16x8 (&part_of_q)[SHARE],
                                       Ahead ahead, int begin, int end, const Order& order, int share, Shared& lds, int wave,
                                       int lane, const F& touch) { // phase: none
  const int m = lane % 16, g = lane / 16;
  const float scale_log2 = row.p.scale * LOG2_E;
  char* const own = lds.tile[wave];
  const int write_at = m * V_BYTES + (g ^ bank_key(m)) * 16;
  const int read_row = 4 * g + (m >> 2);
  const int read_at = read_row * V_BYTES + ((m >> 1 & 1) ^ bank_key(read_row)) * 16 + (m & 1) * 8;
  const bf16x4 ones = {1, 1, 1, 1};

  Raw raw;
  f32x4 acc[WAVES] = {}, sum = {}; // of this wave's tokens, 16 dims each
  float max;
  bf16x8 q[Q_PIECES];
  Place place = place_at(row, tiles, begin, wave, g);
  asm volatile("" // now, and not behind the slots
               : "+s"(place.num_slots), "+s"(place.block_size), "+s"(place.block.magic), "+s"(place.block.shift),
                 "+s"(place.block_stride), "+s"(place.left), "+v"(place.data), "+v"(place.scales));
  Source source = locate(place, ahead.slot[0], m, g);
  uint32_t valid = source.valid;
#pragma unroll
  for (int i = -1; i < AHEAD; ++i)
    load(raw, source, order, i);
  __builtin_amdgcn_sched_barrier(0);
#pragma unroll
  for (int i = 0; i < SHARE; ++i)
    reinterpret_cast<bf16x8*>(lds.q)[(SHARE * wave + i) * WAVE_SIZE + lane] = part_of_q[i];
  uint32_t last_share = share == SHARES - 1 ? ~0u : 0; // or the compiler would branch
  asm volatile("" : "+v"(last_share));
  __syncthreads();
  const auto take = [&](int i) { // q of piece i
    const char* const at = lds.q + (i < GROUPS ? 32 * order.at[i] : 2048 * GROUPS + 1024 * (i - GROUPS)) + 16 * lane;
    if (i < GROUPS) {
      q[2 * i] = *reinterpret_cast<const bf16x8*>(at);
      q[2 * i + 1] = *reinterpret_cast<const bf16x8*>(at + 1024);
    } else
      q[GROUPS + i] = *reinterpret_cast<const bf16x8*>(at);
  };
#pragma unroll
  for (int i = 0; i < TAKE_AHEAD; ++i)
    take(i);
  int tile = begin;
  uint32_t slot;
  const auto slot_at = [&](int tile) { return slot_of(row, tiles, tile, end, wave, m); };
  const auto source_at = [&](int tile) { return locate(place_at(row, tiles, min(tile, end - 1), wave, g), slot, m, g); };
  const auto step = [&](auto more, auto only) {
    f32x4 x = {}; // phase: QK
    const uint64_t scales = __builtin_bit_cast(uint64_t, raw.scale) << 8 >> 8;
    u32x2 turned = __builtin_bit_cast(u32x2, scales >> 16 * share | scales << (8 * GROUPS - 16 * share));
    asm("" : "+v"(turned)); // or the compiler would mask each shift of it
    bf16x8 second[2];
#pragma unroll
    for (int i = 0; i < PIECES; ++i) {
      bf16x8 k[2];
      if (i < GROUPS) {
        const uint32_t bytes = turned[i / 4];
        const float scale = __builtin_bit_cast(float, i % 4 == 3 ? bytes >> 1 : bytes << (23 - 8 * (i % 4)));
        k[0] = dequantise(raw.data[i][0], raw.data[i][1], scale);
        k[1] = dequantise(raw.data[i][2], raw.data[i][3], scale);
        x = mfma_16x16x32(k[0], q[2 * i], x);
        x = mfma_16x16x32(k[1], q[2 * i + 1], x);
      } else {
        k[0] = __builtin_bit_cast(bf16x8, raw.data[i]);
        x = mfma_16x16x32(k[0], q[GROUPS + i], x);
      }
      const auto write = [&](int n, bf16x8 v) { *reinterpret_cast<bf16x8*>(own + (write_at ^ n * 64)) = v; };
      if (i == 0) {
        write(0, k[0]);
        write(1, k[1]);
      } else if (i == 1) {
        second[0] = k[0];
        second[1] = k[1];
      } else if (i >= GROUPS)
        write(2 + i - GROUPS, either(second[i - GROUPS], k[0], last_share));
      if constexpr (more.value)
        if (i < EARLY)
          load(raw, source, order, i);
      if constexpr (only.value) {
        if (i + AHEAD < PIECES)
          load(raw, source, order, i + AHEAD);
        if (i + TAKE_AHEAD < PIECES)
          take(i + TAKE_AHEAD);
        if (i + AHEAD == PIECES)
          touch();
      }
      __builtin_amdgcn_sched_barrier(0);
    }
    bf16x4 v[WAVES];
    if constexpr (!only.value) {
      __builtin_amdgcn_wave_barrier(); // the compiler must not exchange reads and writes of the wave's own LDS
#pragma unroll
      for (int n = 0; n < WAVES; ++n)
        v[n] = read_transposed(own + (read_at ^ n * 32));
      __builtin_amdgcn_sched_barrier(0);
    }
    x *= scale_log2; // phase: softmax
    if (UNLIKELY(valid != ALL)) {
#pragma unroll
      for (int r = 0; r < 4; ++r)
        x[r] = valid >> (4 * g + r) & 1 ? x[r] : -__builtin_inff();
    }
    const float most = __builtin_fmaxf(__builtin_fmaxf(x[0], x[1]), __builtin_fmaxf(x[2], x[3]));
    if constexpr (only.value)
      max = __builtin_fmaxf(NO_MAX, max_of_head(most));
    else if (__builtin_amdgcn_ballot_w64(most > max + RESCALE_AT)) {
      const float raised = __builtin_fmaxf(max, max_of_head(most)), alpha = exp2_approx(max - raised);
      max = raised;
      sum *= alpha;
#pragma unroll
      for (int n = 0; n < WAVES; ++n)
        acc[n] *= alpha;
    }
    bf16x4 weights;
#pragma unroll
    for (int r = 0; r < 4; ++r)
      weights[r] = static_cast<bf16>(exp2_approx(x[r] - max));
    if constexpr (only.value)
      lds.weights[wave][lane] = weights;
    if constexpr (more.value) {
      valid = source.valid;
#pragma unroll
      for (int i = EARLY; i < PIECES; ++i)
        load(raw, source, order, i);
      load(raw, source, order, -1);
      source = source_at(tile + 2);
      slot = slot_at(tile + 3);
    }
    sum = mfma_16x16x16(ones, weights, sum); // phase: PV
    if constexpr (!only.value)
#pragma unroll
      for (int n = 0; n < WAVES; ++n)
        acc[n] = mfma_16x16x16(v[n], weights, acc[n]);
    __builtin_amdgcn_wave_barrier();
  };
  // Behind the barrier a wave has its 16 dims of what each wave has.
  f32x2 max_sum[WAVES];
  f32x4 theirs[WAVES];
  float weight[WAVES];
  const auto weigh = [&] {
    state = {{}, max_sum[0][0], 0.0f};
#pragma unroll
    for (int w = 1; w < WAVES; ++w)
      state.max = __builtin_fmaxf(state.max, max_sum[w][0]);
#pragma unroll
    for (int w = 0; w < WAVES; ++w) {
      weight[w] = exp2_approx(max_sum[w][0] - state.max);
      state.sum += max_sum[w][1] * weight[w];
    }
    __builtin_amdgcn_sched_barrier(0);
  };
  const auto leave = [&] {
    if (g == 0)
      lds.max_sum[wave][m] = {max, sum[0]};
    __syncthreads();
#pragma unroll
    for (int w = 0; w < WAVES; ++w)
      max_sum[w] = lds.max_sum[w][m];
    __builtin_amdgcn_sched_barrier(0);
  };
  if (LIKELY(begin + 1 >= end)) {
    step(False{}, True{});
    leave();
    bf16x4 v[WAVES], p[WAVES];
#pragma unroll
    for (int w = 0; w < WAVES; ++w) {
      p[w] = lds.weights[w][lane];
      v[w] = read_transposed(lds.tile[w] + (read_at ^ wave * 32));
    }
    __builtin_amdgcn_sched_barrier(0);
    weigh();
#pragma unroll
    for (int w = 0; w < WAVES; ++w)
      theirs[w] = mfma_16x16x16(v[w], p[w], f32x4{});
  } else {
    max = NO_MAX;
#pragma unroll
    for (int i = AHEAD; i < PIECES; ++i)
      load(raw, source, order, i);
#pragma unroll
    for (int i = TAKE_AHEAD; i < PIECES; ++i)
      take(i);
    slot = ahead.slot[1];
    source = source_at(begin + 1);
    slot = ahead.slot[2];
    for (; tile + 1 < end; ++tile)
      step(True{}, False{});
    touch();
    step(False{}, False{});
#pragma unroll
    for (int n = 0; n < WAVES; ++n)
      reinterpret_cast<f32x4*>(own)[n * WAVE_SIZE + lane] = acc[n];
    leave();
#pragma unroll
    for (int w = 0; w < WAVES; ++w)
      theirs[w] = reinterpret_cast<const f32x4*>(lds.tile[w])[wave * WAVE_SIZE + lane];
    weigh();
  }
#pragma unroll
  for (int w = 0; w < WAVES; ++w)
    state.acc += theirs[w] * weight[w];
}

} // namespace few
