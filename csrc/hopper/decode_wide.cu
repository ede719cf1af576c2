// Sparse-MLA decode for Hopper (sm_90a): 64 heads of a row to a program of three warpgroups, SPLITS programs, a cluster, to a
// row. decode.cu has fewer heads, and says what both have in common: macros, how fp8 becomes bf16, how a cluster merges.
//
// One warpgroup converts tiles of 64 tokens into two buffers; two multiply, each for half of the 512 dims of the output:
//
//     S[64 heads, 64 tokens] = Q[64, 512] K^T[512, 64]        both from shared memory; both warpgroups compute all of it
//     O[64 heads, 256 dims] += P[64, 64] K[64, 256]           P from registers; O stays in registers
//
// So the two exchange nothing, and a row of scores is in four lanes. They take turns with their scores, so that one has its
// softmax while the matrix units work for the other. What bounds a tile is shared memory: of the cycles that
// it is busy for a tile, scores take half (profiles/measured/h100).
//
// A tile comes as nine units of 4 KB through a ring of eight: each is fetched into the place of the one just converted. A NaN
// code is seen by its bits, and put as a NaN into its token's keys.
#include "cache_layout.h"
#include "decode_params.h"
#include "hopper/ptx.cuh"

constexpr int N = HEADS, D = HEAD_DIM, TILE = 64, GROUP = TILE * 128;
static_assert(N == 64, "a matrix instruction has 64 rows");
#include "hopper/rows.cuh"

// Shared memory.
constexpr int BUFFERS = 2;
constexpr int K_AT = 0, SUMS_AT = 0; // [buffer][group of 64 dims][token][64 dims], 128-byte swizzle; at the end sums
constexpr int Q_AT = BUFFERS * 8 * GROUP, P_AT = Q_AT;  // [group][head][64 dims], 128-byte swizzle; in a merge f32 [split][head]
constexpr int RAW_AT = Q_AT + N * D * 2;                // [unit, in a ring][tokens g, g + 8][thread] 16 bytes as in the cache
constexpr int UNITS_OF_TILE = 9, RING = 8;              // of 4 KB: seven groups of fp8, RoPE in two
constexpr int SCALES_AT = RAW_AT + RING * 2 * 128 * 16; // [token]
constexpr int VALID_AT = SCALES_AT + TILE * 8;          // [buffer] a bit a token
constexpr int BARRIERS_AT = VALID_AT + BUFFERS * 8;     // [full, empty][buffer]
constexpr int ML_AT = BARRIERS_AT + 2 * BUFFERS * 8;    // [maximum, sum][head]
static_assert(ML_AT + 2 * N * 4 == SHARED_BYTES, "the host asks for another amount");
#include "hopper/merge.cuh"

__device__ __forceinline__ u64 tile_descriptor(u32 at) { // rows of 128 bytes, 128-byte swizzle; groups of 64 dims GROUP apart
  return (u64)((at & 0x3ffff) >> 4) | (u64)(GROUP >> 4) << 16 | (u64)(1024 >> 4) << 32 | (u64)1 << 62;
}

#define F4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define F16(d, i) F4(d, i), F4(d, i + 4), F4(d, i + 8), F4(d, i + 12)
#define F32(d, i) F16(d, i), F16(d, i + 16)
#define TEN(n) "%" #n "0, %" #n "1, %" #n "2, %" #n "3, %" #n "4, %" #n "5, %" #n "6, %" #n "7, %" #n "8, %" #n "9, "
#define TENS(a, b, c, d) TEN(a) TEN(b) TEN(c) TEN(d)
#define R32 TEN() TEN(1) TEN(2) "%30, %31"
#define R128 TENS(, 1, 2, 3) TENS(4, 5, 6, 7) TENS(8, 9, 10, 11) "%120, %121, %122, %123, %124, %125, %126, %127"
// Scores of 64 heads and 64 tokens, over 16 dims.
__device__ __forceinline__ void multiply_q(float (&d)[32], u64 a, u64 b, int add) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, %34, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" R32 "}, %32, %33, p, 1, 1, 0, 0;}"
               : F32(d, 0)
               : "l"(a), "l"(b), "r"(add));
}
// Weights times 16 tokens, over 256 dims.
__device__ __forceinline__ void multiply_p(float (&d)[128], const u32* a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 {" R128 "}, {%128, %129, %130, %131}, %132, 1, 1, 1, 1;"
               : F32(d, 0), F32(d, 32), F32(d, 64), F32(d, 96)
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

__device__ __forceinline__ void barrier_init(u32 at, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory");
}
__device__ __forceinline__ void barrier_arrive(u32 at) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(at) : "memory");
}
__device__ __forceinline__ void barrier_wait(u32 at, u32 parity) {
  asm volatile("{.reg .pred p;\n"
               "AGAIN: mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%0], %1;\n"
               "@!p bra AGAIN;}" ::"r"(at),
               "r"(parity)
               : "memory");
}
// 16 consecutive bf16 of two rows to the registers of matrix fragments: what conversion leaves of 16 fp8.
__device__ __forceinline__ void shuffle_dims(u32 (&k)[16], const u32 (&eight)[8], int half) {
#pragma unroll
  for (int s = 0; s < 4; s++) {
    k[4 * s + half] = __byte_perm(eight[2 * s], eight[2 * s + 1], 0x5410);
    k[4 * s + half + 2] = __byte_perm(eight[2 * s], eight[2 * s + 1], 0x7632);
  }
}
__device__ __forceinline__ void store_group(u32 to, const u32 (&k)[16]) {
#pragma unroll
  for (int s = 0; s < 4; s++)
    store_fragment(to ^ s << 5, k[4 * s], k[4 * s + 1], k[4 * s + 2], k[4 * s + 3]);
}

__device__ __forceinline__ void produce(const DecodeParams& p, const u32 base, const int w, const int lane, const int rank,
                                        const int first, const int step, const int items) {
  const int g = lane >> 2, l = lane & 3,
            token = 16 * w + g; // and token + 8: those whose dims 16 l to 16 l + 15 of a group are mine
  const u32 raw = base + RAW_AT + (w * 32 + lane) * 16, scales = base + SCALES_AT + 16 * w * 8;
  const u32 to = base + K_AT + (16 * w + lane % 16) * 128 + ((lane >> 4 ^ lane & 7) << 4);
  int coming = first, tile = rank, slot[2], next_slot[2] = {-1, -1};
  bool from_main = true, next_main = true;
  Row row = row_of(p, coming);
  auto look = [&] { // up the slots of a tile, after the next
    slot[0] = next_slot[0], slot[1] = next_slot[1], from_main = next_main;
    while (tile >= row.tiles) {
      coming += step;
      if (coming >= items) {
        next_slot[0] = next_slot[1] = -1;
        return;
      }
      row = row_of(p, coming), tile = rank;
    }
    next_main = tile < row.main_tiles;
    int position = (next_main ? tile : tile - row.main_tiles) * TILE + token, end = next_main ? row.main_len : row.extra_len;
    const int* at = (next_main ? p.main_list.indices + row.main_start : p.extra_list.indices + row.extra_start) + position;
    next_slot[0] = position < end ? __ldg(at) : -1;
    next_slot[1] = position + 8 < end ? __ldg(at + 8) : -1;
    tile += SPLITS;
  };
  const char *record[2], *scale_at; // of the tile that is being copied
  bool there[2];
  auto resolve = [&] {
    const char* cache = (const char*)(from_main ? p.main.cache : p.extra.cache);
    const u32 slots = from_main ? p.main.num_slots : p.extra.num_slots;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      there[half] = (u32)slot[half] < slots;
      u32 id = slot[half], block = from_main ? id / MAIN_BLOCK : id / EXTRA_BLOCK;
      u32 place = from_main ? id % MAIN_BLOCK : id % EXTRA_BLOCK, size = from_main ? MAIN_BLOCK : EXTRA_BLOCK;
      const char* at = cache + block * (from_main ? (u64)MAIN_STRIDE : (u64)EXTRA_STRIDE);
      record[half] = at + place * DATA_BYTES + 16 * l;
      if (l == half)
        scale_at = at + size * DATA_BYTES + place * SCALE_BYTES;
    }
  };
  auto fetch = [&](int unit, u32 at) { // a unit of a tile into shared memory; with the first its scales
    constexpr int BYTES = ALIGNED ? 16 : 8;
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int j = 0; j < 16; j += BYTES)
        copy<BYTES>(raw + at + half * 2048 + j,
                    record[half] + (unit < GROUPS ? unit * 64 : NOPE_DIM + 16 * l + (unit - GROUPS) * 16) + j, there[half]);
    if (unit == 0 && l < 2)
      copy<8>(scales + (g + 8 * l) * 8, scale_at, l ? there[1] : there[0]);
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  look(), look();
  resolve();
#pragma unroll
  for (int i = 0; i < RING; i++)
    fetch(i, i * 4096);
  look();
  u32 count = 0;
  for (int item = first; item < items; item += step) {
    const int tiles = row_of(p, item).tiles;
#pragma unroll 1
    for (int t = rank; t < tiles; t += SPLITS, count++) {
      const u32 buffer = count & 1, keys = to + buffer * (8 * GROUP);
      // Which of the warp's 16 tokens are there.
      const bool first_half = __shfl_sync(~0u, there[0], lane * 4 & 31), second_half = __shfl_sync(~0u, there[1], lane * 4 & 31);
      const u32 valid = __ballot_sync(~0u, lane < 8 ? first_half : lane < 16 && second_half);
      u32 at = count % RING * 4096; // UNITS_OF_TILE is 1 modulo RING
      asm volatile("cp.async.wait_group 7;" ::: "memory");
      __syncwarp();
      const u64 scale[2] = {lds_u64(scales + g * 8), lds_u64(scales + (g + 8) * 8)};
      uint4 loaded[2] = {lds(raw + at), lds(raw + at + 2048)};
      bool large = false;
      for (int half = 0; half < 2; half++) // whether a byte is more than 134
        large |= ((scale[half] & 0x7f7f7f7f7f7f7f) + 0x79797979797979 & scale[half] & 0x80808080808080) != 0;
      large = __any_sync(~0u, large);
      u32 nan[2] = {0, 0};
      barrier_wait(base + BARRIERS_AT + (BUFFERS + buffer) * 8, ~(count >> 1) & 1);
      if (lane == 0)
        asm volatile("st.shared.b16 [%0], %1;" ::"r"(base + VALID_AT + buffer * 8 + w * 2), "h"((u16)valid) : "memory");
      u32 rope[2][8];
#pragma unroll
      for (int i = 0; i < UNITS_OF_TILE; i++) {
        const uint4 bytes[2] = {loaded[0], loaded[1]};
        const u32 free = at;
        at = (at + 4096) % (RING * 4096);
        if (i + 1 < UNITS_OF_TILE) {
          asm volatile("cp.async.wait_group 6;" ::: "memory");
          loaded[0] = lds(raw + at), loaded[1] = lds(raw + at + 2048);
        }
        if (i >= GROUPS)
#pragma unroll
          for (int half = 0; half < 2; half++) {
            u32* eight = rope[half] + (i - GROUPS) * 4;
            eight[0] = bytes[half].x, eight[1] = bytes[half].y, eight[2] = bytes[half].z, eight[3] = bytes[half].w;
          }
        u32 k[16];
        if (i < GROUPS)
#pragma unroll
          for (int half = 0; half < 2; half++) {
            u32 power = min(((u32)(scale[half] >> (8 * i)) & 0xff) + 120, 254u) * 0x00800080;
            u32 four[4] = {bytes[half].x, bytes[half].y, bytes[half].z, bytes[half].w};
#pragma unroll
            for (int s = 0; s < 4; s++) {
              k[4 * s + half] = times((four[s] << 8 & 0x80008000) | (four[s] << 4 & 0x07f007f0), power);
              k[4 * s + half + 2] = times((four[s] & 0x80008000) | (four[s] >> 4 & 0x07f007f0), power);
              nan[half] |= (four[s] & 0x7f7f7f7f) + 0x01010101;
            }
            if (large) {
              u32 byte = (u32)(scale[half] >> (8 * i)) & 0xff;
              u32 more = byte == 255 ? 0x7fff7fff : (127 + max((int)byte - 134, 0)) * 0x00800080;
#pragma unroll
              for (int s = 0; s < 8; s++)
                k[2 * s + half] = times(k[2 * s + half], more);
            }
          }
        if (i == 0) {
          fetch(RING, free); // the last unit of this tile
          __syncwarp();      // scales are in registers
          resolve();
        } else
          fetch(i - 1, free); // of the next tile
        if (i < GROUPS)
          store_group(keys + i * GROUP, k);
      }
      u32 k[16];
      shuffle_dims(k, rope[0], 0), shuffle_dims(k, rope[1], 1);
      store_group(keys + 7 * GROUP, k);
      if (__any_sync(~0u, (nan[0] | nan[1]) & 0x80808080)) { // one NaN in a token spoils the row
        __syncwarp();
#pragma unroll
        for (int half = 0; half < 2; half++)
          if (nan[half] & 0x80808080)
            sts(base + K_AT + buffer * (8 * GROUP) + (token + 8 * half) * 128, 0x7fff7fffu);
      }
      fence_async();
      __syncwarp();
      if (lane == 0)
        barrier_arrive(base + BARRIERS_AT + buffer * 8);
      look(); // after the fence, which would wait for it
    }
    if constexpr (SPLITS > 1)
      meet_all(), meet_all(); // sums are where keys were
  }
}

__device__ __forceinline__ void consume(const DecodeParams& p, const u32 base, const int warp, const int lane, const int rank,
                                        const int first, const int step, const int items) {
  const int g = lane >> 2, l = lane & 3, wg = warp >> 2, w = warp & 3, tid = warp * 32 + lane, blocks = blocks_of(p);
  const bool q_wide = (((u64)p.q | p.q_row_stride * 2 | p.q_head_stride * 2) & 15) == 0;
  const float scale_log2 = fmaxf(fabsf(p.scale) * LOG2_E, 1e-30f); // so that it keeps order, and -inf
  auto fetch_q = [&](int item) {                                   // this warp: 16 heads, all dims of one warpgroup's half
    const int head = item % blocks * N + 16 * w + g;
    const u32 to = base + Q_AT + (16 * w + lane % 16) * 128 + ((lane >> 4 ^ lane & 7) << 4);
    const char* from =
        (const char*)((const u16*)p.q + item / blocks * p.q_row_stride + head * p.q_head_stride + wg * 256 + 16 * l);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u32 k[16];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        u32 eight[8];
        const char* at = from + half * 16 * p.q_head_stride + i * 128;
        const bool real = head + 8 * half < p.heads;
        if (q_wide) {
          uint4 x = {0, 0, 0, 0}, y = x;
          if (real)
            x = __ldg((const uint4*)at), y = __ldg((const uint4*)at + 1);
          eight[0] = x.x, eight[1] = x.y, eight[2] = x.z, eight[3] = x.w, eight[4] = y.x, eight[5] = y.y, eight[6] = y.z,
          eight[7] = y.w;
        } else
#pragma unroll
          for (int j = 0; j < 8; j++)
            eight[j] = real ? ((const u16*)at)[2 * j] | (u32)((const u16*)at)[2 * j + 1] << 16 : 0;
        shuffle_dims(k, eight, half);
      }
      store_group(to + (wg * 4 + i) * (N * 128), k);
    }
    fence_async();
    meet<256>(1);
  };
  if (wg == 1)
    pass<256>(2);
  fetch_q(first);
  u32 count = 0;
  for (int item = first; item < items; item += step) {
    const int query_row = item / blocks, head0 = item % blocks * N, tiles = row_of(p, item).tiles;
    float acc[128], total[2] = {0, 0}, top[2] = {NO_MAX, NO_MAX}, score[32];
#pragma unroll
    for (int i = 0; i < 128; i++)
      acc[i] = 0;
    if (item + step < items && (item + step) % blocks * N + tid / 4 < p.heads) { // the next queries, two lines a thread
      const int next = item + step;
      const u16* q = (const u16*)p.q + next / blocks * p.q_row_stride + (next % blocks * N + tid / 4) * p.q_head_stride;
#pragma unroll
      for (int i = 0; i < 2; i++)
        asm volatile("prefetch.global.L2 [%0];" ::"l"(q + (tid % 4 * 2 + i) * 64));
    }
    u64 valid = 0;
    auto start_scores = [&] { // of the tile that comes, when it is there
      const u32 buffer = count & 1;
      barrier_wait(base + BARRIERS_AT + buffer * 8, count >> 1 & 1);
      valid = lds_u64(base + VALID_AT + buffer * 8); // before matrix instructions keep shared memory busy
      const u64 q = anew(tile_descriptor(base + Q_AT)), k = anew(tile_descriptor(base + K_AT + buffer * (8 * GROUP)));
      meet<256>(2 + wg); // its turn: one warpgroup's softmax while the matrix units have the other's products
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < 8; i++)
#pragma unroll
        for (int s = 0; s < 4; s++)
          multiply_q(score, q + (i * (N * 128) + s * 32) / 16, k + (i * GROUP + s * 32) / 16, i + s);
      wgmma_commit();
      pass<256>(2 + (wg ^ 1));
    };
    if (rank < tiles)
      start_scores();
#pragma unroll 1
    for (int t = rank; t < tiles; t += SPLITS) {
      const u32 buffer = count & 1;
      wgmma_wait<0>();
      if (p.scale < 0)
#pragma unroll
        for (int i = 0; i < 32; i++)
          score[i] = -score[i];
      if (valid != ~0ull)
#pragma unroll
        for (int j = 0; j < 8; j++)
#pragma unroll
          for (int odd = 0; odd < 2; odd++)
            if (!(valid >> (2 * l) >> (8 * j + odd) & 1))
              score[4 * j + odd] = score[4 * j + 2 + odd] = NONE;
      float high[2], alpha[2];
      u32 weights[16];
#pragma unroll
      for (int half = 0; half < 2; half++) {
        high[half] = NONE;
#pragma unroll
        for (int j = 0; j < 8; j++)
          high[half] = fmaxf(high[half], fmaxf(score[4 * j + 2 * half], score[4 * j + 2 * half + 1]));
      }
#pragma unroll
      for (int over = 1; over < 4; over *= 2)
#pragma unroll
        for (int half = 0; half < 2; half++)
          high[half] = fmaxf(high[half], __shfl_xor_sync(~0u, high[half], over));
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const float now = fmaxf(top[half], high[half] * scale_log2);
        alpha[half] = power_of_2(top[half] - now), top[half] = now;
        float sum = 0;
#pragma unroll
        for (int j = 0; j < 8; j++) {
          float x = power_of_2(__fmaf_rn(score[4 * j + 2 * half], scale_log2, -now)),
                y = power_of_2(__fmaf_rn(score[4 * j + 2 * half + 1], scale_log2, -now));
          sum += x + y;
          weights[j / 2 * 4 + j % 2 * 2 + half] = pack(x, y);
        }
        total[half] = total[half] * alpha[half] + sum;
      }
      if (__any_sync(~0u, alpha[0] != 1 || alpha[1] != 1))
#pragma unroll
        for (int i = 0; i < 128; i++)
          acc[i] *= alpha[i / 2 % 2];
      const u64 values = anew(tile_descriptor(base + K_AT + buffer * (8 * GROUP) + wg * (4 * GROUP)));
      wgmma_fence();
#pragma unroll
      for (int s = 0; s < 4; s++)
        multiply_p(acc, weights + 4 * s, values + s * 2048 / 16);
      wgmma_commit();
      wgmma_wait<0>(); // before it waits for the next tile: whose place this one may hold
      __syncwarp();
      if (lane == 0)
        barrier_arrive(base + BARRIERS_AT + (BUFFERS + buffer) * 8);
      count++;
      if (t + SPLITS < tiles)
        start_scores();
    }
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int over = 1; over < 4; over *= 2)
        total[half] += __shfl_xor_sync(~0u, total[half], over);
    if constexpr (SPLITS == 1) {
      const bool out_wide = (((u64)p.out | p.out_row_stride * 2 | p.out_head_stride * 2) & 15) == 0;
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int head = head0 + 16 * w + g + 8 * half;
        if (head >= p.heads)
          continue;
        const float sink = p.attn_sink ? __ldg(p.attn_sink + head) * LOG2_E : NONE;
        const float inverse = total[half] == 0 ? 0 : 1 / (total[half] + power_of_2(sink - top[half]));
        if (p.lse && wg == 0 && l == 0)
          p.lse[(i64)query_row * p.heads + head] = total[half] == 0 ? NONE : (top[half] + log2f(total[half])) * LN_2;
        u16* to = (u16*)p.out + query_row * p.out_row_stride + head * p.out_head_stride + wg * 256 + 16 * l;
#pragma unroll
        for (int i = 0; i < 4; i++) {
          u32 eight[8];
#pragma unroll
          for (int s = 0; s < 4; s++)
#pragma unroll
            for (int odd = 0; odd < 2; odd++) {
              const float* x = acc + i * 32 + s * 8 + 2 * half + odd;
              eight[2 * s + odd] = pack(x[0] * inverse, x[4] * inverse);
            }
          if (out_wide) {
            *(uint4*)(to + i * 64) = {eight[0], eight[1], eight[2], eight[3]};
            *(uint4*)(to + i * 64 + 8) = {eight[4], eight[5], eight[6], eight[7]};
          } else
#pragma unroll
            for (int j = 0; j < 8; j++)
              to[i * 64 + 2 * j] = eight[j], to[i * 64 + 2 * j + 1] = eight[j] >> 16;
        }
      }
      if (item + step < items)
        meet<256>(1); // all scores are done with the queries
    } else {
      // Fours of dims are exchanged so that a store meets all banks.
      auto sum_at = [](int head, int dim) { return (head * D + (dim ^ (dim >> 5 & 1 | head << 1 & 2) << 2)) * 4; };
      meet<256>(1); // keys are read
#pragma unroll
      for (int half = 0; half < 2; half++) {
        const int head = 16 * w + g + 8 * half;
        if (wg == 0 && l == 0)
          sts(base + ML_AT + head * 4, top[half]), sts(base + ML_AT + (N + head) * 4, total[half]);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
          for (int s = 0; s < 4; s++) {
            const float* x = acc + i * 32 + s * 8 + 2 * half;
            const float four[4] = {x[0], x[4], x[1], x[5]};
            sts4(base + SUMS_AT + sum_at(head, wg * 256 + i * 64 + 16 * l + 4 * s), four);
          }
      }
      const float sink =
          p.attn_sink && head0 + tid / (256 / N) < p.heads ? __ldg(p.attn_sink + head0 + tid / (256 / N)) * LOG2_E : NONE;
      const bool out_wide = (((u64)p.out | p.out_row_stride * 2 | p.out_head_stride * 2) & 7) == 0;
      meet_all();
      merge(p, base, tid, rank, query_row, head0, sink, out_wide, sum_at);
      meet_all(); // before anything that others read here is overwritten, or gone
    }
    if (item + step < items)
      fetch_q(item + step);
  }
}

extern "C" __global__ void __launch_bounds__(384, 1) hopper_decode(const __grid_constant__ DecodeParams p) {
  extern __shared__ __align__(1024) char memory[];
  const u32 base = (u32)__cvta_generic_to_shared(memory);
  const int warp = __shfl_sync(~0u, threadIdx.x >> 5, 0), lane = __shfl_sync(~0u, threadIdx.x, threadIdx.x) & 31;
  const int rank = blockIdx.x % SPLITS, first = blockIdx.x / SPLITS, step = gridDim.x / SPLITS, items = p.rows * blocks_of(p);
  if (threadIdx.x == 0) {
    for (int i = 0; i < BUFFERS; i++)
      barrier_init(base + BARRIERS_AT + i * 8, 4), barrier_init(base + BARRIERS_AT + (BUFFERS + i) * 8, 8);
    fence_async();
  }
  __syncthreads();
  if (warp >= 8) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 88;");
    produce(p, base, warp - 8, lane, rank, first, step, items);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 208;");
    consume(p, base, warp, lane, rank, first, step, items);
  }
}
