// The tile of the product kernel: eight waves share 128 tokens, two waves a SIMD.
//
// The idea. One workgroup takes a row and 16 heads, as in the base design. For QK each wave takes 16 tokens, for PV 64 dims:
//   K goes from memory straight into the registers in which MFMA wants it: a lane brings 16 bytes of one token at a time, and the
//     order in which dims meet is free as long as Q comes in the same one. fp8 pairs become bf16 pairs in one scaled conversion.
//   S^T = K Q^T, not S = Q K^T: a lane then holds scores of one head only. V is the same registers, written to LDS once and read
//     transposed (ds_read_b64_tr_b16): O^T = V^T P^T. P passes through LDS as the registers in which PV wants it.
//   All waves count with one maximum of a head. Only a wave whose scores pass it by 2^8 says so, with its own; then, behind the
//     barrier, all raise it, rescale, and leave P again. The sum of weights is one more MFMA, against ones.
//   The next tile's bytes are on their way while this one is multiplied, its slots one tile longer.
//
// The layout. Lane l = 16 g + m. K: token m of the wave's 16, dims as `dim_of_slot` says. V in LDS: [128 tokens][64 slots of 8
// dims] bf16, slots of token t exchanged by XOR with `bank_key(t)`: 8 lanes that write the same slot of 8 tokens fill all 32
// write banks, and 32 lanes that read two slots of 8 tokens all 64 read banks.
//
// The price. Two barriers a tile, which waves of private tiles (product_tile.h) do not need: they need 512 registers
// each instead, so one wave a SIMD. 128 KiB of LDS hold one workgroup a CU.
#pragma once
#include "product_merge.h"

namespace shared {

using product::bank_key, product::dequantise, product::dim_of_slot, product::divide, product::Global, product::GlobalOf;
using product::max_of_head, product::NO_RECORD, product::Part, product::PIECES, product::Q_PIECES, product::QUADS, product::Row;
using product::ROW_BYTES, product::slot_of_dim, product::SLOTS, product::take_q, product::True, product::False;

constexpr int THREADS = 512;
constexpr int WAVES = THREADS / WAVE_SIZE;
constexpr int BLOCK_HEADS = product::BLOCK_HEADS;
constexpr int STRIP = 16; // tokens of a wave: the height of an MFMA
constexpr int STRIP_BYTES = STRIP * ROW_BYTES;
constexpr int TILE_TOKENS = WAVES * STRIP;
constexpr int CHUNKS = TILE_TOKENS / 32;            // 32 tokens: the depth of an MFMA
constexpr int OUT_TILES = HEAD_DIM / 16 / WAVES;    // of a wave
constexpr int HEADS_PER_WAVE = BLOCK_HEADS / WAVES; // behind the loop
constexpr int SHARE = Q_PIECES / WAVES;             // of Q, that a wave brings
constexpr uint32_t ALL = (1 << STRIP) - 1;          // every token of a strip attends
constexpr float RESCALE_AT = 8.0f;                  // log2: weights stay below 2^8, far from any limit of bf16 or fp32
constexpr int EARLY = 6; // pieces of the next tile asked for during QK, the others during PV: the address unit's queue would
                         // fill, and hold the wave, if all were at once

// A row's work in tiles: those of the main segment, then those of the extra one.
struct Tiles {
  int main, all;
};
__device__ __forceinline__ Tiles tiles_of(const Row& row) {
  const auto in = [](int length) { return static_cast<int>(static_cast<unsigned>(length + TILE_TOKENS - 1) / TILE_TOKENS); };
  return {in(row.main.length), in(row.main.length) + in(row.extra.length)};
}

// Bytes of a strip on their way: of token m, this lane's 16 bytes of every piece, and the 8 scale bytes.
struct Raw {
  u32x4 data[PIECES];
  u32x2 scale;
};

// A segment's list, walked tile by tile. Each wave walks it in step with the others.
struct List {
  const int32_t* slots;
  int first, last;
};
__device__ __forceinline__ List list_at(const Row& row, const Tiles& tiles, int tile) {
  const bool in_main = tile < tiles.main;
  const Span span = in_main ? row.main : row.extra;
  return {span.slots, (in_main ? tile : tile - tiles.main) * TILE_TOKENS, span.length - 1};
}

// This lane's entry of a tile's list, of token m of the wave's strip. Past the list's end the last one stands in; `locate` knows.
__device__ __forceinline__ uint32_t fetch_slot(const List& list, int in_tile) { // phase: gather
  const uint32_t position = static_cast<uint32_t>(min(list.first + in_tile, list.last));
  return *reinterpret_cast<const uint32_t*>(reinterpret_cast<const char*>(list.slots) + position * 4);
}

// Tiles of a part, and this lane's slots of its first two.
struct Range {
  int begin, end;
};
struct Ahead {
  uint32_t first, second;
};
// The same of a tile that may not exist: something that may be read.
__device__ __forceinline__ uint32_t fetch_any(const Row& row, const Tiles& tiles, int tile, int in_tile) {
  const List list = list_at(row, tiles, max(tile, 0));
  return fetch_slot({list.slots, list.first, max(list.last, 0)}, in_tile);
}
__device__ __forceinline__ void fetch_ahead(Ahead& ahead, const Row& row, const Range& tiles, int wave, int m) {
  ahead.first = fetch_any(row, tiles_of(row), tiles.begin, STRIP * wave + m);
  ahead.second = fetch_any(row, tiles_of(row), min(tiles.begin + 1, tiles.end - 1), STRIP * wave + m);
}

struct Source {
  Global data, scale;
  uint32_t valid; // bit t: token t of the strip attends
};

// A slot's record: block * block_stride + place * DATA_BYTES, with place = slot - block * block_size.
struct Place {
  Global data;    // this lane's piece of the first record
  int64_t scales; // from there to the first scales
  int64_t block_stride;
  uint32_t num_slots, block_size;
  Divisor block;
  int left; // tokens from the strip on
};
__device__ __forceinline__ Place place_at(const Row& row, const Tiles& tiles, int tile, int strip, int g) {
  const bool in_main = tile < tiles.main;
  const Segment& segment = in_main ? row.p.main : row.p.extra;
  return {(Global)segment.cache + 16 * g,
          static_cast<int64_t>(segment.block_size * DATA_BYTES) - 16 * g,
          segment.block_stride,
          static_cast<uint32_t>(segment.num_slots),
          static_cast<uint32_t>(segment.block_size),
          segment.block,
          (in_main ? row.main.length : row.extra.length) - (in_main ? tile : tile - tiles.main) * TILE_TOKENS - STRIP * strip};
}

__device__ __forceinline__ Source locate(const Place& place, uint32_t slot, int m, int g) {
  Source source;
  source.valid = __builtin_amdgcn_ballot_w64(slot < place.num_slots) & ALL;
  if (UNLIKELY(place.left < STRIP))
    source.valid &= (1u << max(place.left, 0)) - 1;
  const uint32_t block = divide(slot, place.block);
  const uint64_t in_block = slot - block * place.block_size;
  const Global records = place.data + block * place.block_stride;
  source.data = records + in_block * DATA_BYTES;
  source.scale = records + (in_block << 3) + place.scales;
  if (UNLIKELY(source.valid != ALL)) // 0 * NaN is NaN, so a weight of zero would not keep a poisoned record out
    if (!(source.valid >> m & 1)) {
      source.data = (Global)NO_RECORD + 16 * g;
      source.scale = (Global)NO_RECORD;
    }
  return source;
}

__device__ __forceinline__ void load(Raw& raw, const Source& source, int i) { // piece i, or the scales
  if (i < 0)
    raw.scale = *(GlobalOf<u32x2>)source.scale;
  else
    raw.data[i] = *(GlobalOf<u32x4>)(source.data + 64 * i);
}

// What a lane keeps from tile to tile: of head m, dims of slots 2 n and 2 n + 1 (element 4 g + r of these 16), n counted from the
// wave's first; the maximum, the same in all waves; the sum of weights of the wave's strips (in every element).
struct Online {
  f32x4 acc[OUT_TILES], sum;
  float max;
};

__device__ __forceinline__ void load_q(bf16x8 (&share)[SHARE], const DecodeParams& p, int row, int head, int wave,
                                       int g) { // phase: load q
  const bf16* const at = p.q + row * p.q_row_stride + min(head, p.heads - 1) * p.q_head_stride;
#pragma unroll
  for (int i = 0; i < SHARE; ++i)
    share[i] = load_unaligned<bf16x8>(at + dim_of_slot(4 * (SHARE * wave + i), g));
}

struct Shared {
  alignas(1024) char tile[TILE_TOKENS * ROW_BYTES];
  alignas(16) char q[BLOCK_HEADS * HEAD_DIM * 2];
  alignas(16) bf16x4 weights[2][WAVES][WAVE_SIZE]; // as first left, and again where the maximum was raised
  alignas(16) float max[WAVES][BLOCK_HEADS], sum[WAVES][BLOCK_HEADS];
  int raised;
  bool last;
};

// Tiles begin .. end - 1 of a row, for 16 heads.
__device__ __forceinline__ void attend(Online& state, const Row& row, const Tiles& tiles, const bf16x8 (&share)[SHARE],
                                       const Ahead& ahead, int begin, int end, Shared& lds, int wave, int lane) { // phase: none
  if (begin >= end)
    return;
  const int m = lane % 16, g = lane / 16;
  // Scores are compared before they are scaled: so the scale is to be positive.
  float scale_log2 = row.p.scale * LOG2_E;
  const bool positive = scale_log2 > 0.0f;
  char* const write_at = lds.tile + wave * STRIP_BYTES + m * ROW_BYTES;
  const int write_slot = (g ^ bank_key(m)) * 16;
  const int read_row = 4 * g + (m >> 2);
  const int read_at = read_row * ROW_BYTES + ((8 * wave + (m >> 1 & 1)) ^ bank_key(read_row)) * 16 + (m & 1) * 8;
  const bf16x4 ones = {1, 1, 1, 1};
  float limit = NO_MAX;
  const int in_tile = STRIP * wave + m;

  Raw raw;
  uint32_t slot = 0, valid = 0;
  bf16x8 q[Q_PIECES];
  Source source = {};
  List list = {};
  Place place = {};
  const int crossing = tiles.main < end ? tiles.main : -1; // where the other segment begins
  // Of the tile behind the one that `list` and `place` are at. Past the end: of some tile of the row.
  const auto next_slot = [&](int tile) {
    list.first += TILE_TOKENS;
    if (UNLIKELY(tile == crossing)) {
      asm volatile(""); // or the compiler would do it every time, and select
      list = list_at(row, tiles, tile);
    }
    return fetch_slot(list, in_tile);
  };
  const auto next_source = [&](int tile) {
    place.left -= TILE_TOKENS;
    if (UNLIKELY(tile == crossing)) {
      asm volatile("");
      place = place_at(row, tiles, tile, wave, g);
    }
    return locate(place, slot, m, g);
  };
  const Place first = place_at(row, tiles, begin, wave, g);
  place = place_at(row, tiles, min(begin + 1, end - 1), wave, g);
  list = list_at(row, tiles, min(begin + 2, end - 1));
  source = locate(first, ahead.first, m, g);
  valid = source.valid;
#pragma unroll
  for (int i = -1; i < PIECES; ++i)
    load(raw, source, i);
#pragma unroll
  for (int i = 0; i < SHARE; ++i)
    reinterpret_cast<bf16x8*>(lds.q)[(SHARE * wave + i) * WAVE_SIZE + lane] = share[i];
  lds.max[wave][m] = NO_MAX;
  lds.raised = -1;
  __syncthreads();
  take_q(q, lds.q, lane);
  if (UNLIKELY(!positive)) {
    const uint32_t sign = scale_log2 < 0.0f ? 0x80008000 : 0, keep = scale_log2 == 0.0f ? 0 : ~0u;
#pragma unroll
    for (int i = 0; i < Q_PIECES; ++i)
      q[i] = __builtin_bit_cast(bf16x8, (__builtin_bit_cast(u32x4, q[i]) ^ sign) & keep);
    scale_log2 = scale_log2 < 0.0f ? -scale_log2 : scale_log2 == 0.0f ? 1.0f : scale_log2;
  }
  source = locate(place, ahead.second, m, g);
  slot = fetch_slot(list, in_tile);
  const auto step = [&](int tile, auto more) {
    f32x4 x = {}; // phase: QK
    const u32x2 scales = raw.scale;
#pragma unroll
    for (int i = 0; i < SLOTS / 8; ++i) {
      bf16x8 k[2];
      if (i < GROUPS) {
        const uint32_t bytes = scales[i / 4];
        const float scale = __builtin_bit_cast(float, i % 4 == 3 ? bytes >> 1 : bytes << (23 - 8 * (i % 4)));
        k[0] = dequantise(raw.data[i][0], raw.data[i][1], scale);
        k[1] = dequantise(raw.data[i][2], raw.data[i][3], scale);
      } else {
        k[0] = __builtin_bit_cast(bf16x8, raw.data[GROUPS]);
        k[1] = __builtin_bit_cast(bf16x8, raw.data[GROUPS + 1]);
      }
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        *reinterpret_cast<bf16x8*>(write_at + (write_slot ^ ((i & 1) * 128 + h * 64)) + (i >> 1) * 256) = k[h];
        x = mfma_16x16x32(k[h], q[2 * i + h], x);
      }
      if constexpr (more.value)
#pragma unroll
        for (int n = i; n < i + 1 && n < EARLY; ++n)
          load(raw, source, n);
      __builtin_amdgcn_sched_barrier(0);
    }

    if (UNLIKELY(valid != ALL)) { // phase: softmax
#pragma unroll
      for (int r = 0; r < 4; ++r)
        x[r] = valid >> (4 * g + r) & 1 ? x[r] : -__builtin_inff();
      asm("" : "+v"(x)); // or the compiler would part its elements, and copy them every time
    }
    const float most = __builtin_fmaxf(__builtin_fmaxf(x[0], x[1]), __builtin_fmaxf(x[2], x[3])) * scale_log2;
    if (__builtin_amdgcn_ballot_w64(most > limit)) { // always in the first tile, so not out of the way
      lds.max[wave][m] = max_of_head(most);
      lds.raised = tile;
    }
    bf16x4 weights;
    const auto weigh = [&](int again) {
      const f32x4 y = __builtin_elementwise_fma(x, f32x4(scale_log2), f32x4(-state.max));
#pragma unroll
      for (int r = 0; r < 4; ++r)
        weights[r] = static_cast<bf16>(exp2_approx(y[r]));
      lds.weights[again][wave][lane] = weights;
    };
    weigh(0);
    __syncthreads();
    bf16x8 p[CHUNKS], v[2][OUT_TILES];
    const auto read_weights = [&](int again) {
#pragma unroll
      for (int c = 0; c < CHUNKS; ++c)
        p[c] =
            __builtin_shufflevector(lds.weights[again][2 * c][lane], lds.weights[again][2 * c + 1][lane], 0, 1, 2, 3, 4, 5, 6, 7);
    };
    const auto read_v = [&](int c) {
#pragma unroll
      for (int n = 0; n < OUT_TILES; ++n) {
        const char* const at = lds.tile + (read_at ^ (n * 32)) + 2 * c * STRIP_BYTES;
        const bf16x4 low = read_transposed(at), high = read_transposed(at + STRIP_BYTES);
        v[c % 2][n] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
      }
    };
    const int raised = lds.raised;
    __builtin_amdgcn_sched_barrier(0);
    read_weights(0);
    read_v(0);
    __builtin_amdgcn_sched_barrier(0);
    if (uniform(raised) == tile) {
      const float before = state.max;
#pragma unroll
      for (int w = 0; w < WAVES; ++w)
        state.max = __builtin_fmaxf(state.max, lds.max[w][m]);
      limit = state.max + RESCALE_AT;
      weigh(1);
      const float alpha = exp2_approx(before - state.max);
      state.sum *= alpha;
#pragma unroll
      for (int n = 0; n < OUT_TILES; ++n)
        state.acc[n] *= alpha;
      __syncthreads();
      read_weights(1);
    }
    state.sum = mfma_16x16x16(ones, weights, state.sum); // phase: PV
    valid = source.valid;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      if (c + 1 < CHUNKS)
        read_v(c + 1);
      if (c == CHUNKS - 1)
        __syncthreads();
#pragma unroll
      for (int n = 0; n < OUT_TILES; ++n)
        state.acc[n] = mfma_16x16x32(v[c % 2][n], p[c], state.acc[n]);
      if constexpr (more.value) {
        constexpr int LATE = PIECES - EARLY, IN = CHUNKS - 1;
        if (c == 0)
          load(raw, source, -1);
        if (c < IN)
#pragma unroll
          for (int i = EARLY + LATE * c / IN; i < EARLY + LATE * (c + 1) / IN; ++i)
            load(raw, source, i);
        if (c == IN - 1) {
          source = next_source(tile + 2);
          slot = next_slot(tile + 3);
        }
      }
      if (c < CHUNKS - 2)
        __builtin_amdgcn_sched_barrier(0);
    }
    if constexpr (more.value) { // the compiler looks for MFMAs that still read what the loop's head overwrites, but not far
                                // enough
      __builtin_amdgcn_sched_barrier(0);
      asm volatile("s_nop 1");
    }
  };
  int tile = begin; // phase: none
  if (tile + 1 < end)
    __builtin_amdgcn_s_waitcnt(0xc07f); // lgkmcnt(0): q is here, or the loop would wait for it piece by piece, every time
#pragma unroll 1
  for (; tile + 1 < end; ++tile)
    step(tile, True{});
  if (tile < end)
    step(tile, False{});
}

// A wave leaves its accumulators as [n][g][m] quads, heads exchanged by XOR so that neither side meets a bank twice.
__device__ __forceinline__ void leave(Shared& lds, const Online& state, int wave, int lane) { // phase: merge
  const int m = lane % 16, g = lane / 16;
  if (g == 0)
    lds.sum[wave][m] = state.sum[0];
  if (wave == 0 && g == 0)
    lds.max[0][m] = state.max;
#pragma unroll
  for (int i = 0; i < OUT_TILES; ++i) {
    const int n = OUT_TILES * wave + i;
    *reinterpret_cast<f32x4*>(lds.tile + n * 1024 + g * 256 + (m ^ ((4 * n + g) & 15)) * 16) = state.acc[i];
  }
}

// This lane's quad of a head, of what `leave` left.
__device__ __forceinline__ f32x4 merged_quad(const char* left, int head, int quad, int lane) {
  const int at = 2 * slot_of_dim(4 * (WAVE_SIZE * quad + lane)) + (lane & 1); // in quads of four dims, [2 slot + half]
  return *reinterpret_cast<const f32x4*>(left + at * 256 + (head ^ (at & 15)) * 16);
}

// Heads first_head .. of the workgroup, of which every wave has 64 dims.
__device__ __forceinline__ void gather_heads(Part (&parts)[HEADS_PER_WAVE], const Shared& lds, int first_head, int lane) {
  const float max = lds.max[0][lane % 16];
  float total = 0.0f;
#pragma unroll
  for (int w = 0; w < WAVES; ++w)
    total += lds.sum[w][lane % 16];
#pragma unroll
  for (int i = 0; i < HEADS_PER_WAVE; ++i) {
    parts[i] = {{}, broadcast_lane(max, first_head + i), broadcast_lane(total, first_head + i)};
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad)
      parts[i].acc[quad] = merged_quad(lds.tile, first_head + i, quad, lane);
  }
}

} // namespace shared
