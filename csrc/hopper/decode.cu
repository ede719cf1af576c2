// Sparse-MLA decode for Hopper (sm_90a): HEADS (16 or 32; decode_wide.cu has 64) heads of a row to a program of two warpgroups,
// SPLITS programs, a cluster, to a row. Compiled when it is first needed, for the layout of its caches: MAIN_BLOCK, MAIN_STRIDE,
// EXTRA_BLOCK, EXTRA_STRIDE, and ALIGNED where all records start at multiples of 16 (else 8).
//
// Scores are kept transposed, so that heads are the columns of a matrix instruction and 16 of them cost 16:
//
//     S^T[64 tokens, heads] = K[64, 512] Q^T[512, heads]      K from registers, as soon as it is converted
//     O^T[512, heads]      += K^T[512, 64] P^T[64, heads]     K from shared memory, read transposed; O stays in registers
//
// Each warpgroup has half of the 512 dims: it fetches and converts that half of a tile, multiplies it by its half of Q, and by
// the weights, so what it converts no other needs. Between, the two exchange and add scores, each for half of the heads. A warp
// owns 16 tokens of the tile. It looks up their slots two tiles ahead and copies 64 dims of the next tile to where it has just
// taken those of this one from.
//
// fp8 becomes bf16 without a convert instruction: the bits of an e4m3 number, moved to their places in a bf16, are that number
// times 2^-120, and one multiplication by 2^120 * scale corrects that and applies the scale; scales above 2^7 take a second one.
// Moved so, the two NaN codes would be 480: an fp8 matrix instruction multiplies the same bytes by zeros, which gives NaN for
// a token that has one and 0 for any other, and that is added to scores. What is not in the cache is read as zeros.
//
// Each program of a cluster leaves its sums in its shared memory and merges a slice of the output from all of them. So nothing is
// kept in device memory, and no program waits for one that may not be running. A row's bits depend on HEADS and SPLITS alone.
#include "cache_layout.h"
#include "decode_params.h"

#include "hopper/ptx.cuh"

constexpr int N = HEADS, D = HEAD_DIM, TILE = 64, GROUP = TILE * 128, CHUNKS = 4;
constexpr int C = N / 4, OWN = N / 8; // heads that a thread has columns of: in O; in S, whose heads the warpgroups share out
// Shared memory.
constexpr int BUFFERS = 2; // of keys
constexpr int K_AT = 0;    // [buffer][group of 64 dims][token][64 dims], 128-byte swizzle; before: queries as they come
constexpr int Q_AT = BUFFERS * 8 * GROUP;      // [group][head][64 dims], 128-byte swizzle
constexpr int SUMS_AT = 0;                     // once the tiles are done: f32 [head][dim], over keys
constexpr int RAW_AT = Q_AT + N * D * 2;       // [warp][16 tokens][256 dims as in the cache]
constexpr int PITCH = 320;                     // of those tokens: as 64 modulo 128, so that loads meet all banks
constexpr int P_AT = RAW_AT + 8 * 16 * PITCH;  // [token][head], swizzled by rows; in a merge f32 [split][head]
constexpr int SWAP_AT = P_AT + TILE * N * 2;   // [warpgroup][4 scores][thread of a warpgroup]
constexpr int TOP_AT = SWAP_AT + TILE * N * 4; // [warp][head of the warpgroup's]
constexpr int ALPHA_AT = TOP_AT + 4 * N * 4;   // [head]
constexpr int ML_AT = ALPHA_AT + N * 4;        // [maximum, sum][head]
constexpr int ZERO_AT = ML_AT + 2 * N * 4;     // 128 bytes of zeros
constexpr int SCALES_AT = ZERO_AT + 128;       // [warp][16 tokens]
static_assert(SCALES_AT + 8 * 16 * 8 == SHARED_BYTES, "the host asks for another amount");
#include "hopper/merge.cuh"
#include "hopper/rows.cuh"

__device__ __forceinline__ u64 descriptor(u32 at, int step, int swizzle) { // step: bytes from one eight rows to the next
  return (u64)((at & 0x3ffff) >> 4) | (u64)(step >> 4) << 16 | (u64)(step >> 4) << 32 | (u64)swizzle << 62;
}
// The same, in a register from now on: by a shuffle of what all lanes have.
template <class T> __device__ __forceinline__ T held(T x) { return __shfl_sync(~0u, x, 0); }
constexpr int P_SWIZZLE = N == 16 ? 3 : 2; // 32, 64 bytes: a row

#if HEADS == 16
#define ACC(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define NAME "n16"
#define REGS "{%0, %1, %2, %3, %4, %5, %6, %7}"
#define A_REGS "{%8, %9, %10, %11}, %12"
#define A_DESC "%8, %9"
#define IF_RS "%13"
#else
#define ACC(d)                                                                                                                   \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),        \
      "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define NAME "n32"
#define REGS "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}"
#define A_REGS "{%16, %17, %18, %19}, %20"
#define A_DESC "%16, %17"
#define IF_RS "%21"
#endif

__device__ __forceinline__ void multiply_q(float (&d)[N / 2], u32 a0, u32 a1, u32 a2, u32 a3, u64 b, int add) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, " IF_RS ", 0;\n"
               "wgmma.mma_async.sync.aligned.m64" NAME "k16.f32.bf16.bf16 " REGS ", " A_REGS ", p, 1, 1, 0;}"
               : ACC(d)
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b), "r"(add));
}
__device__ __forceinline__ void multiply_p(float (&d)[N / 2], u64 a, u64 b) {
  asm volatile("wgmma.mma_async.sync.aligned.m64" NAME "k16.f32.bf16.bf16 " REGS ", " A_DESC ", 1, 1, 1, 1, 1;"
               : ACC(d)
               : "l"(a), "l"(b));
}
__device__ __forceinline__ void multiply_zeros(float (&d)[4], u32 a0, u32 a1, u32 a2, u32 a3, u64 b, int add) {
  asm volatile("{.reg .pred p; setp.ne.b32 p, %9, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n8k32.f32.e4m3.e4m3 {%0, %1, %2, %3}, {%4, %5, %6, %7}, %8, p, 1, 1;}"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
               : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b), "r"(add));
}

extern "C" __global__ void __launch_bounds__(256, 1) hopper_decode(const __grid_constant__ DecodeParams p) {
  extern __shared__ __align__(1024) char memory[];
  const u32 base = (u32)__cvta_generic_to_shared(memory);
  // By shuffles, for special registers would be read again and again.
  const int lane = __shfl_sync(~0u, threadIdx.x, threadIdx.x) & 31, warp = __shfl_sync(~0u, threadIdx.x >> 5, 0),
            tid = warp * 32 + lane, wg = warp >> 2, w = warp & 3;
  const int g = lane >> 2, l = lane & 3, rank = blockIdx.x % SPLITS, first = blockIdx.x / SPLITS, step = gridDim.x / SPLITS;
  const u32 keys = base + K_AT + wg * CHUNKS * GROUP, raw = base + RAW_AT + (warp * 16 + g) * PITCH + l * 16;
  const u32 scales = base + SCALES_AT + warp * 128, tops = base + TOP_AT;
  const int token = 16 * w + g; // and token + 8: those whose dims 16 l to 16 l + 15 of a group this thread converts
  const u32 to = keys + (16 * w + lane % 16) * 128 + ((lane >> 4 ^ lane & 7) << 4); // where lane's row of a fragment goes
  const int blocks = blocks_of(p), items = p.rows * blocks;
  const bool q_wide = (((u64)p.q | p.q_row_stride * 2 | p.q_head_stride * 2) & 15) == 0;
  const bool out_wide = (((u64)p.out | p.out_row_stride * 2 | p.out_head_stride * 2) & 7) == 0;
  const float scale_log2 = p.scale * LOG2_E;
  if (tid < 32)
    sts(base + ZERO_AT + tid * 4, 0u);

  // What comes: the tile after the one that is being copied.
  int coming = first, tile = rank, slot[2], next_slot[2] = {-1, -1}; // of this thread's tokens
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
  const char *const main_at = (const char*)held((u64)p.main.cache), *const extra_at = (const char*)held((u64)p.extra.cache);
  const u32 main_slots = held(p.main.num_slots), extra_slots = held(p.extra.num_slots);
  const char *record[2], *scale_at; // of the tile that is being copied
  bool there[2];
  auto resolve = [&] {
    const char* cache = from_main ? main_at : extra_at;
    const u32 slots = from_main ? main_slots : extra_slots;
#pragma unroll
    for (int half = 0; half < 2; half++) {
      there[half] = (u32)slot[half] < slots;
      u32 id = slot[half], block = from_main ? id / MAIN_BLOCK : id / EXTRA_BLOCK;
      u32 place = from_main ? id % MAIN_BLOCK : id % EXTRA_BLOCK, size = from_main ? MAIN_BLOCK : EXTRA_BLOCK;
      const char* at = cache + block * (from_main ? (u64)MAIN_STRIDE : (u64)EXTRA_STRIDE);
      record[half] = at + place * DATA_BYTES + wg * 256 + 16 * l;
      if (l == half)
        scale_at = at + size * DATA_BYTES + place * SCALE_BYTES;
    }
  };
  auto fetch = [&](int chunk) { // 64 dims of it into shared memory; with the first its scales
    constexpr int BYTES = ALIGNED ? 16 : 8;
#pragma unroll
    for (int half = 0; half < 2; half++)
#pragma unroll
      for (int j = 0; j < 16; j += BYTES)
        copy<BYTES>(raw + half * 8 * PITCH + chunk * 64 + j, record[half] + chunk * 64 + j, there[half]);
    if (wg == 1 && chunk == 3)
#pragma unroll
      for (int half = 0; half < 2; half++)
#pragma unroll
        for (int j = 64; j < 80; j += BYTES)
          copy<BYTES>(raw + half * 8 * PITCH + chunk * 64 + j, record[half] + chunk * 64 + j, there[half]);
    if (chunk == 0 && l < 2)
      copy<8>(scales + (g + 8 * l) * 8, scale_at, l ? there[1] : there[0]);
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  auto fetch_q = [&](int item) {
    const int at = anew(tid), head = item % blocks * N + at / 64;
    const u16* from = (const u16*)p.q + item / blocks * p.q_row_stride + head * p.q_head_stride + at % 64 * 8;
#pragma unroll
    for (int k = 0; k < N / 4; k++)
      copy<16>(base + K_AT + (4 * k * 64 + at) * 16, from + 4 * k * p.q_head_stride, q_wide && head + 4 * k < p.heads);
    asm volatile("cp.async.commit_group;" ::: "memory");
  };
  auto place =
      [&](int k,
          uint4 x) { // eight dims of head 4 k + tid / 64 to shared memory, in the order in which conversion leaves those of keys
        const int t = anew(tid), at = t % 64, head = 4 * k + t / 64, group = at / 8;
        const u32 to = base + Q_AT + group * (N * 128) + head * 128 + at % 8 / 2 * 4;
#pragma unroll
        for (int quad = 0; quad < 2; quad++) {
          u32 one = quad ? x.z : x.x, two = quad ? x.w : x.y,
              chunk = (2 * at + quad) % 4 * 2; // four dims of lane at % 8 / 2 in a step
          u32 low = group == 7 ? one : __byte_perm(one, two, 0x5410), high = group == 7 ? two : __byte_perm(one, two, 0x7632);
          sts(to + ((chunk ^ head & 7) << 4), low);
          sts(to + ((chunk + 1 ^ head & 7) << 4), high);
        }
      };
  auto store_q = [&](int item) {
    const int head = item % blocks * N + tid / 64;
    if (q_wide)
#pragma unroll
      for (int k = 0; k < N / 4; k++)
        place(k, lds(base + K_AT + (4 * k * 64 + tid) * 16));
    else
#pragma unroll 1
      for (int k = 0; k < N / 4; k++) {
        const u16* from = (const u16*)p.q + item / blocks * p.q_row_stride + (head + 4 * k) * p.q_head_stride + tid % 64 * 8;
        u32 pair[4];
        for (int j = 0; j < 4; j++)
          pair[j] = head + 4 * k < p.heads ? from[2 * j] | (u32)from[2 * j + 1] << 16 : 0;
        place(k, {pair[0], pair[1], pair[2], pair[3]});
      }
    fence_async();
  };
  fetch_q(first);
  look(), look();
  resolve();
#pragma unroll
  for (int i = 0; i < CHUNKS; i++)
    fetch(i);
  look();
  asm volatile("cp.async.wait_group 4;" ::: "memory");
  store_q(first);
  __syncthreads();

  for (int item = first; item < items; item += step) {
    const int query_row = item / blocks, head0 = item % blocks * N;
    float sink = p.attn_sink && head0 + tid / (256 / N) < p.heads ? __ldg(p.attn_sink + head0 + tid / (256 / N)) * LOG2_E
                                                                  : NONE; // for the end
    float acc[CHUNKS][N / 2], total[OWN], top[OWN];
#pragma unroll
    for (int i = 0; i < CHUNKS; i++)
#pragma unroll
      for (int j = 0; j < N / 2; j++)
        acc[i][j] = 0;
#pragma unroll
    for (int c = 0; c < OWN; c++)
      total[c] = 0, top[c] = NO_MAX;

    const int tiles = row_of(p, item).tiles;
    u32 buffer = 0;
    for (int t = rank; t < tiles; t += SPLITS) {
      // Convert this warpgroup's dims, and multiply by Q what is converted.
      float score[N / 2], nan[4];
      const bool valid[2] = {there[0], there[1]};
      resolve();
      asm volatile("cp.async.wait_group 3;" ::: "memory");
      __syncwarp();
      const u64 scale[2] = {lds_u64(scales + g * 8), lds_u64(scales + (g + 8) * 8)};
      bool large = false;
      for (int half = 0; half < 2; half++) // whether a byte is more than 134
        large |= ((scale[half] & 0x7f7f7f7f7f7f7f) + 0x79797979797979 & scale[half] & 0x80808080808080) != 0;
      large = __any_sync(~0u, large);
      const u64 zeros = descriptor(base + ZERO_AT, 0, 0),
                queries = anew(descriptor(base + Q_AT + wg * CHUNKS * (N * 128), 1024, 1));
      u32 fragments[CHUNKS][16];
      uint4 loaded[CHUNKS][2] = {{lds(raw), lds(raw + 8 * PITCH)}};
#pragma unroll
      for (int i = 0; i < CHUNKS; i++) {
        u32* k = fragments[i];
        uint4(&bytes)[2] = loaded[i];
        const bool is_rope = i == 3 && wg == 1;
        if (!is_rope) {
#pragma unroll
          for (int half = 0; half < 2; half++) {
            u32 power = min(((u32)(scale[half] >> (8 * (wg * CHUNKS + i))) & 0xff) + 120, 254u) * 0x00800080;
            u32 four[4] = {bytes[half].x, bytes[half].y, bytes[half].z, bytes[half].w};
#pragma unroll
            for (int s = 0; s < 4; s++) {
              k[4 * s + half] = times((four[s] << 8 & 0x80008000) | (four[s] << 4 & 0x07f007f0), power);
              k[4 * s + half + 2] = times((four[s] & 0x80008000) | (four[s] >> 4 & 0x07f007f0), power);
            }
          }
          if (large)
#pragma unroll
            for (int half = 0; half < 2; half++) {
              u32 byte = (u32)(scale[half] >> (8 * (wg * CHUNKS + i))) & 0xff;
              u32 more = byte == 255 ? 0x7fff7fff : (127 + max((int)byte - 134, 0)) * 0x00800080;
#pragma unroll
              for (int s = 0; s < 8; s++)
                k[2 * s + half] = times(k[2 * s + half], more);
            }
        } else
#pragma unroll
          for (int half = 0; half < 2; half++) {
            uint4 low = lds(raw + half * 8 * PITCH + i * 64 + l * 16), high = lds(raw + half * 8 * PITCH + i * 64 + l * 16 + 16);
            u32 eight[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
            for (int s = 0; s < 8; s++)
              k[2 * s + half] = eight[s];
          }
        if (i + 1 < CHUNKS) {
          asm volatile("cp.async.wait_group 2;" ::: "memory");
          __syncwarp();
          loaded[i + 1][0] = lds(raw + (i + 1) * 64), loaded[i + 1][1] = lds(raw + 8 * PITCH + (i + 1) * 64);
        } else
          __syncwarp();
        fetch(i); // of the next tile, to where this was
#pragma unroll
        for (int s = 0; s < 4; s++)
          store_fragment((to ^ s << 5) + buffer + i * GROUP, k[4 * s], k[4 * s + 1], k[4 * s + 2], k[4 * s + 3]);
        wgmma_fence();
        if (!is_rope) {
          multiply_zeros(nan, bytes[0].x, bytes[0].y, bytes[0].z, bytes[0].w, zeros, i);
          multiply_zeros(nan, bytes[1].x, bytes[1].y, bytes[1].z, bytes[1].w, zeros, 1);
        }
#pragma unroll
        for (int s = 0; s < 4; s++)
          multiply_q(score, k[4 * s], k[4 * s + 1], k[4 * s + 2], k[4 * s + 3], queries + (i * (N * 128) + s * 32) / 16, i + s);
        wgmma_commit();
      }
      wgmma_wait<0>();

      // The scores of half of the heads to the other warpgroup, for those of the other half.
      float mine[N / 4];
      const u32 swap = base + SWAP_AT + tid % 128 * 16;
      const float bad = nan[0] + nan[2]; // of either token: one is enough to spoil the row
#pragma unroll
      for (int i = 0; i < N / 4; i += 4) {
        float give[4];
#pragma unroll
        for (int j = 0; j < 4; j++) {
          give[j] = (wg ? score[i + j] : score[N / 4 + i + j]) + bad;
          mine[i + j] = (wg ? score[N / 4 + i + j] : score[i + j]) + bad;
        }
        sts4(swap + (wg * (N / 16) + i / 4) * 2048, give);
      }
      meet<64>(3 + w);
#pragma unroll
      for (int i = 0; i < N / 4; i += 4) {
        float4 x = lds_f4(swap + ((wg ^ 1) * (N / 16) + i / 4) * 2048);
        mine[i] += x.x, mine[i + 1] += x.y, mine[i + 2] += x.z, mine[i + 3] += x.w;
      }

      // Softmax. Column c of a thread is head wg N / 2 + 8 (c / 2) + 2 l + c % 2.
#pragma unroll
      for (int c = 0; c < OWN; c += 2) {
        float high[2];
#pragma unroll
        for (int odd = 0; odd < 2; odd++) {
          float &x = mine[2 * c + odd], &y = mine[2 * c + 2 + odd];
          x = valid[0] ? x * scale_log2 : NONE, y = valid[1] ? y * scale_log2 : NONE;
          high[odd] = fmaxf(x, y);
#pragma unroll
          for (int over = 4; over < 32; over *= 2)
            high[odd] = fmaxf(high[odd], __shfl_xor_sync(~0u, high[odd], over));
        }
        if (lane < 4)
          sts(tops + (warp * (N / 2) + c * 4 + 2 * l) * 4, high[0], high[1]);
      }
      meet<128>(1 + wg);
      const u32 to_p = anew(base + P_AT + token * (2 * N) + 4 * l), turn = (token * (2 * N) >> 7 & (N / 8 - 1)) << 4;
#pragma unroll
      for (int c = 0; c < OWN; c += 2) {
        float2 now = {top[c], top[c + 1]}, alpha;
#pragma unroll
        for (int other = 0; other < 4; other++) {
          float2 its = lds_f2(tops + ((wg * 4 + other) * (N / 2) + c * 4 + 2 * l) * 4);
          now.x = fmaxf(now.x, its.x), now.y = fmaxf(now.y, its.y);
        }
        alpha.x = power_of_2(top[c] - now.x), alpha.y = power_of_2(top[c + 1] - now.y);
        top[c] = now.x, top[c + 1] = now.y;
        if (w == 0 && lane < 4)
          sts(base + ALPHA_AT + (wg * (N / 2) + c * 4 + 2 * l) * 4, alpha.x, alpha.y);
        total[c] *= alpha.x, total[c + 1] *= alpha.y;
#pragma unroll
        for (int half = 0; half < 2; half++) {
          float x = power_of_2(mine[2 * c + 2 * half] - now.x), y = power_of_2(mine[2 * c + 2 * half + 1] - now.y);
          total[c] += x, total[c + 1] += y;
          sts((to_p + half * 16 * N) + ((wg * (N / 16) + c / 2) << 4 ^ turn), pack(x, y));
        }
      }
      fence_async(); // keys and weights
      __syncthreads();
      bool same = true;
      float alpha[C];
#pragma unroll
      for (int c = 0; c < C; c += 2) {
        float2 x = lds_f2(base + ALPHA_AT + (c * 4 + 2 * l) * 4);
        alpha[c] = x.x, alpha[c + 1] = x.y, same &= x.x == 1 && x.y == 1;
      }
      if (!__all_sync(~0u, same))
#pragma unroll
        for (int i = 0; i < CHUNKS; i++)
#pragma unroll
          for (int j = 0; j < N / 2; j++)
            acc[i][j] *= alpha[j / 4 * 2 + j % 2];
      const u64 values = anew(descriptor(keys + buffer, 1024, 1)), factors = anew(descriptor(base + P_AT, 16 * N, P_SWIZZLE));
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < CHUNKS; i++)
#pragma unroll
        for (int s = 0; s < 4; s++)
          multiply_p(acc[i], values + (i * GROUP + s * 2048) / 16, factors + s * (16 * 2 * N) / 16);
      wgmma_commit();
      look(); // after the fence, which would wait for it
      buffer ^= 8 * GROUP;
    }
    wgmma_wait<0>();

    // Sums to shared memory: [head][dim], dims of a head exchanged by fours so that a store meets all banks.
#pragma unroll
    for (int c = 0; c < OWN; c++)
#pragma unroll
      for (int over = 4; over < 32; over *= 2)
        total[c] += __shfl_xor_sync(~0u, total[c], over);
    if (lane < 4)
#pragma unroll
      for (int c = 0; c < OWN; c += 2) {
        sts(tops + (warp * (N / 2) + c * 4 + 2 * l) * 4, total[c], total[c + 1]);
        if (w == 0)
          sts(base + ML_AT + (wg * (N / 2) + c * 4 + 2 * l) * 4, top[c], top[c + 1]);
      }
    __syncthreads();
    if (tid < N) {
      float sum = 0;
#pragma unroll
      for (int other = 0; other < 4; other++)
        sum += lds_f(tops + ((tid / (N / 2) * 4 + other) * (N / 2) + tid % (N / 2)) * 4);
      sts(base + ML_AT + (N + tid) * 4, sum);
    }
    const u32 sums = anew(base + SUMS_AT + 2 * l * (D * 4) + wg * 1024),
              fp8_sums = sums + ((g / 2 * 16 + w * 4 + g % 2 * 2) ^ l << 2) * 4;
    const u32 rope_sums = sums + ((g / 2 * 16 + w * 4 + g % 2) ^ l << 2) * 4;
#pragma unroll
    for (int i = 0; i < CHUNKS; i++)
#pragma unroll
      for (int j = 0; j < N / 2; j += j % 2 ? 3 : 1) {
        u32 at = i * 256 + (j * 2 + j % 2 * -1) * (D * 4);
        if (i == 3 && wg == 1)
          sts(rope_sums + at, acc[i][j]), sts(rope_sums + at + 8, acc[i][j + 2]);
        else
          sts(fp8_sums + at, acc[i][j], acc[i][j + 2]);
      }
    meet_all();

    auto sum_at = [](int head, int dim) { return (head * D + (dim ^ (head >> 1 & 3) << 2)) * 4; };
    merge(p, base, tid, rank, query_row, head0, sink, out_wide, sum_at);
    meet_all(); // before anything that others read here is overwritten, or gone
    if (item + step < items) {
      fetch_q(item + step);
      asm volatile("cp.async.wait_all;" ::: "memory");
      store_q(item + step);
      __syncthreads();
    }
  }
}
