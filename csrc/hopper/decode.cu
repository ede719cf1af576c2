// Sparse-MLA decode for Hopper (sm_90a): HEADS (16, 32 or 64) heads of a row to a program of two warpgroups, SPLITS programs, a
// cluster, to a row. Compiled when it is first needed, for the layout of its caches: MAIN_BLOCK, MAIN_STRIDE, EXTRA_BLOCK,
// EXTRA_STRIDE, and ALIGNED where all records start at multiples of 16 (else 8).
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

typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned long long u64;
typedef long long i64;

constexpr int N = HEADS, D = HEAD_DIM, TILE = 64, GROUP = TILE * 128, CHUNKS = 4;
constexpr int C = N / 4, OWN = N / 8; // heads that a thread has columns of: in O; in S, whose heads the warpgroups share out
// Shared memory.
constexpr int BUFFERS = N < 64 ? 2 : 1, FRAGMENTS = N < 64 ? 4 : 2; // of keys: as far as there is room
constexpr int K_AT = 0; // [buffer][group of 64 dims][token][64 dims], 128-byte swizzle; before: queries as they come
constexpr int Q_AT = BUFFERS * 8 * GROUP;      // [group][head][64 dims], 128-byte swizzle
constexpr int SUMS_AT = 0;                     // once the tiles are done: f32 [head][dim], over keys, and queries if there are 64
constexpr int RAW_AT = Q_AT + N * D * 2;       // [warp][16 tokens][256 dims as in the cache]
constexpr int PITCH = 320;                     // of those tokens: as 64 modulo 128, so that loads meet all banks
constexpr int P_AT = RAW_AT + 8 * 16 * PITCH;  // [token][head], swizzled by rows; in a merge f32 [split][head]
constexpr int SWAP_AT = P_AT + TILE * N * 2;   // [warpgroup][4 scores][thread of a warpgroup]
constexpr int TOP_AT = SWAP_AT + TILE * N * 4; // [warp][head of the warpgroup's]
constexpr int ALPHA_AT = TOP_AT + 4 * N * 4;   // [head]
constexpr int ML_AT = ALPHA_AT + N * 4;        // [maximum, sum][head]
constexpr int ZERO_AT = ML_AT + 2 * N * 4;     // 128 bytes of zeros
constexpr int SCALES_AT = ZERO_AT + 128;       // [warp][16 tokens]
constexpr int KEPT_AT = SCALES_AT + 8 * 16 * 8; // for 64 heads, which leave no registers: [4 numbers][thread], then [warp][Row]
static_assert(KEPT_AT + (N == 64 ? 256 * 16 * 4 + 8 * 32 : 0) == SHARED_BYTES, "the host asks for another amount");

#define NONE __int_as_float(0xff800000)
constexpr float NO_MAX = -1e30f, LN_2 = 0.69314718f, LOG2_E = 1.44269504f;

__device__ __forceinline__ u64 descriptor(u32 at, int step, int swizzle) { // step: bytes from one eight rows to the next
  return (u64)((at & 0x3ffff) >> 4) | (u64)(step >> 4) << 16 | (u64)(step >> 4) << 32 | (u64)swizzle << 62;
}
// The same in every iteration, but made anew: dozens of them kept in registers would leave too few.
template <class T> __device__ __forceinline__ T anew(T x) {
  if constexpr (sizeof(T) == 8)
    asm volatile("" : "+l"(x));
  else
    asm volatile("" : "+r"(x));
  return x;
}
// The same, in a register from now on: by a shuffle of what all lanes have.
template <class T> __device__ __forceinline__ T held(T x) { return N < 64 ? __shfl_sync(~0u, x, 0) : x; }
constexpr int P_SWIZZLE = N == 16 ? 3 : N == 32 ? 2 : 1; // 32, 64, 128 bytes: a row

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> __device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

#if HEADS == 16
#define ACC(d) "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7])
#define NAME "n16"
#define REGS "{%0, %1, %2, %3, %4, %5, %6, %7}"
#define A_REGS "{%8, %9, %10, %11}, %12"
#define A_DESC "%8, %9"
#define IF_RS "%13"
#elif HEADS == 32
#define ACC(d)                                                                                                                   \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),        \
      "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15])
#define NAME "n32"
#define REGS "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}"
#define A_REGS "{%16, %17, %18, %19}, %20"
#define A_DESC "%16, %17"
#define IF_RS "%21"
#else
#define ACC(d)                                                                                                                   \
  "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]), "+f"(d[4]), "+f"(d[5]), "+f"(d[6]), "+f"(d[7]), "+f"(d[8]), "+f"(d[9]),        \
      "+f"(d[10]), "+f"(d[11]), "+f"(d[12]), "+f"(d[13]), "+f"(d[14]), "+f"(d[15]), "+f"(d[16]), "+f"(d[17]), "+f"(d[18]),       \
      "+f"(d[19]), "+f"(d[20]), "+f"(d[21]), "+f"(d[22]), "+f"(d[23]), "+f"(d[24]), "+f"(d[25]), "+f"(d[26]), "+f"(d[27]),       \
      "+f"(d[28]), "+f"(d[29]), "+f"(d[30]), "+f"(d[31])
#define NAME "n64"
#define REGS                                                                                                                     \
  "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, "         \
  "%25, %26, %27, %28, %29, %30, %31}"
#define A_REGS "{%32, %33, %34, %35}, %36"
#define A_DESC "%32, %33"
#define IF_RS "%37"
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

__device__ __forceinline__ u32 times(u32 a, u32 b) {
  u32 d;
  asm("mul.bf16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
__device__ __forceinline__ u32 pack(float low, float high) {
  u32 d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
__device__ __forceinline__ float power_of_2(float x) {
  float d;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(d) : "f"(x));
  return d;
}
__device__ __forceinline__ uint4 lds(u32 at) {
  uint4 d;
  asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(d.x), "=r"(d.y), "=r"(d.z), "=r"(d.w) : "r"(at));
  return d;
}
__device__ __forceinline__ void store_fragment(u32 at, u32 x, u32 y, u32 z, u32 w) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at), "r"(x), "r"(y), "r"(z), "r"(w)
               : "memory");
}
__device__ __forceinline__ void sts(u32 at, u32 x) { asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(x) : "memory"); }
__device__ __forceinline__ void sts(u32 at, float x) { asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(x) : "memory"); }
__device__ __forceinline__ void sts(u32 at, float x, float y) {
  asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x), "f"(y) : "memory");
}
__device__ __forceinline__ float4 lds_f4(u32 at) {
  float4 d;
  asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w) : "r"(at));
  return d;
}
__device__ __forceinline__ void sts4(u32 at, const float* x) {
  asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x[0]), "f"(x[1]), "f"(x[2]), "f"(x[3]) : "memory");
}
__device__ __forceinline__ u64 lds_u64(u32 at) {
  u64 d;
  asm volatile("ld.shared.b64 %0, [%1];" : "=l"(d) : "r"(at));
  return d;
}
__device__ __forceinline__ float lds_f(u32 at) {
  float d;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(d) : "r"(at));
  return d;
}
__device__ __forceinline__ float2 lds_f2(u32 at) {
  float2 d;
  asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(d.x), "=f"(d.y) : "r"(at));
  return d;
}
__device__ __forceinline__ u32 in_rank(u32 at, u32 rank) {
  u32 d;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(d) : "r"(at), "r"(rank));
  return d;
}
__device__ __forceinline__ float remote(u32 at, u32 rank) {
  float d;
  if constexpr (SPLITS == 1)
    asm volatile("ld.shared.f32 %0, [%1];" : "=f"(d) : "r"(at));
  else
    asm volatile("ld.shared::cluster.f32 %0, [%1];" : "=f"(d) : "r"(in_rank(at, rank)));
  return d;
}
__device__ __forceinline__ float4 remote4(u32 at, u32 rank) {
  float4 d;
  if constexpr (SPLITS == 1)
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];" : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w) : "r"(at));
  else
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(d.x), "=f"(d.y), "=f"(d.z), "=f"(d.w)
                 : "r"(in_rank(at, rank)));
  return d;
}
// Into shared memory, while the thread goes on; zeros where nothing is there.
template <int BYTES> __device__ __forceinline__ void copy(u32 to, const void* from, bool there) {
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to), "l"(from), "r"(there ? 8 : 0) : "memory");
}
__device__ __forceinline__ void fence_async() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
template <int THREADS> __device__ __forceinline__ void meet(int id) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(THREADS) : "memory");
}
__device__ __forceinline__ void meet_all() { // what the cluster has stored in its shared memories before it is there after it
  if constexpr (SPLITS == 1)
    __syncthreads();
  else
    // Not arrive.release, which would wait for all of the device's memory: nothing there is handed over.
    asm volatile("fence.acq_rel.cta;\nbarrier.cluster.arrive.relaxed.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                     : "memory");
}

__device__ __forceinline__ int blocks_of(const DecodeParams& p) { return (p.heads + N - 1) / N; }
struct Row {
  int main_start, main_len, extra_start, extra_len, main_tiles, tiles;
};
__device__ __forceinline__ Row row_of(const DecodeParams& p, int item) {
  Row r;
  int row = item / blocks_of(p);
  r.main_start = __ldg(p.main_list.indptr + row);
  r.main_len = __ldg(p.main_list.indptr + row + 1) - r.main_start;
  r.extra_start = r.extra_len = 0;
  if (p.extra_list.indptr) {
    r.extra_start = __ldg(p.extra_list.indptr + row);
    r.extra_len = __ldg(p.extra_list.indptr + row + 1) - r.extra_start;
  }
  r.main_tiles = (r.main_len + TILE - 1) / TILE;
  r.tiles = r.main_tiles + (r.extra_len + TILE - 1) / TILE;
  return r;
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
  const u32 kept_row = base + KEPT_AT + 256 * 16 * 4 + warp * 32;
  auto keep_row = [&] {
    if constexpr (N == 64) {
      __syncwarp();
      if (lane == 0) {
        const u32 each[6] = {(u32)row.main_start, (u32)row.main_len,   (u32)row.extra_start,
                             (u32)row.extra_len,  (u32)row.main_tiles, (u32)row.tiles};
#pragma unroll
        for (int i = 0; i < 6; i++)
          sts(kept_row + i * 4, each[i]);
      }
      __syncwarp();
    }
  };
  keep_row();
  auto look = [&] { // up the slots of a tile, after the next
    slot[0] = next_slot[0], slot[1] = next_slot[1], from_main = next_main;
    if constexpr (N == 64) {
      uint4 x = lds(kept_row), y = lds(kept_row + 16);
      row = {(int)x.x, (int)x.y, (int)x.z, (int)x.w, (int)y.x, (int)y.y};
    }
    while (tile >= row.tiles) {
      coming += step;
      if (coming >= items) {
        next_slot[0] = next_slot[1] = -1;
        return;
      }
      row = row_of(p, coming), tile = rank;
      keep_row();
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
    // Between tiles.
    auto put_away = [&] {
      if constexpr (N == 64)
#pragma unroll
        for (int c = 0; c < OWN; c += 4)
          sts4(base + KEPT_AT + c * 1024 + tid * 16, top + c), sts4(base + KEPT_AT + (OWN + c) * 1024 + tid * 16, total + c);
    };
    auto take_out = [&] {
      if constexpr (N == 64)
#pragma unroll
        for (int c = 0; c < OWN; c += 4) {
          float4 x = lds_f4(base + KEPT_AT + c * 1024 + tid * 16), y = lds_f4(base + KEPT_AT + (OWN + c) * 1024 + tid * 16);
          top[c] = x.x, top[c + 1] = x.y, top[c + 2] = x.z, top[c + 3] = x.w;
          total[c] = y.x, total[c + 1] = y.y, total[c + 2] = y.z, total[c + 3] = y.w;
        }
    };
    put_away();
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
      u32 fragments[FRAGMENTS][16];
      uint4 loaded[CHUNKS][2] = {{lds(raw), lds(raw + 8 * PITCH)}};
#pragma unroll
      for (int i = 0; i < CHUNKS; i++) {
        u32* k = fragments[i % FRAGMENTS];
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
        if (BUFFERS == 1)
          wgmma_wait<0>(); // for the registers of an earlier fragment; the first time, for the last tile's weights times keys
        if (i == 0 && BUFFERS == 1)
          meet<128>(1 + wg);
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
      take_out();
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
      put_away();
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
      if (BUFFERS == 2)
        buffer ^= 8 * GROUP;
    }
    wgmma_wait<0>();

    take_out();
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

    // Merge slices of dims: a unit is four dims of a head; a thread has UNITS of them, from AT_ONCE of the parts.
    constexpr int QUADS = 128 / SPLITS, UNITS = N * QUADS < 256 ? 1 : N * QUADS / 256,
                  SHARE = N * QUADS < 256 ? 256 / (N * QUADS) : 1;
    constexpr int AT_ONCE = SPLITS / SHARE, BATCH = UNITS * AT_ONCE > 8 && AT_ONCE < 8 ? 8 / AT_ONCE : 1;
    float4 its[BATCH][AT_ONCE];
    const int thread = anew(tid), dim = (rank * QUADS + thread / SHARE % QUADS) * 4, first_head = thread / SHARE / QUADS;
    constexpr int NEXT = 256 / SHARE / QUADS; // heads from one unit of a thread to its next
    auto pull = [&](int from) {
#pragma unroll
      for (int k = 0; k < BATCH; k++)
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
          int head = first_head + (from + k) * NEXT;
          its[k][i] = remote4(base + SUMS_AT + (head * D + (dim ^ (head >> 1 & 3) << 2)) * 4, i * SHARE + thread % SHARE);
        }
    };
    pull(0);
    // Weights of the parts: PER threads to a head.
    constexpr int PER = 256 / N, EACH = SPLITS > PER ? SPLITS / PER : 1;
    const int mine = tid / PER;
    float part_top[EACH], part_sum[EACH], most = NO_MAX, sum = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++) {
      int of = tid % PER + i * PER;
      part_top[i] = of < SPLITS ? remote(base + ML_AT + mine * 4, of) : NO_MAX;
      part_sum[i] = of < SPLITS ? remote(base + ML_AT + (N + mine) * 4, of) : 0;
      most = fmaxf(most, part_top[i]);
    }
#pragma unroll
    for (int over = 1; over < PER; over *= 2)
      most = fmaxf(most, __shfl_xor_sync(~0u, most, over));
#pragma unroll
    for (int i = 0; i < EACH; i++)
      part_top[i] = power_of_2(part_top[i] - most), sum += part_top[i] * part_sum[i];
#pragma unroll
    for (int over = 1; over < PER; over *= 2)
      sum += __shfl_xor_sync(~0u, sum, over);
    const bool real = head0 + mine < p.heads;
    const float inverse = sum == 0 ? 0 : 1 / (sum + power_of_2(sink - most));
#pragma unroll
    for (int i = 0; i < EACH; i++)
      if (tid % PER + i * PER < SPLITS)
        sts(base + P_AT + ((tid % PER + i * PER) * N + mine) * 4, part_top[i] * inverse);
    if (p.lse && real && rank == 0 && tid % PER == 0)
      p.lse[(i64)query_row * p.heads + head0 + mine] = sum == 0 ? NONE : (most + log2f(sum)) * LN_2;
    __syncthreads();
    u16* const out = (u16*)p.out + query_row * p.out_row_stride + (head0 + first_head) * p.out_head_stride + dim;
#pragma unroll 1
    for (int from = 0;;) {
#pragma unroll
      for (int k = 0; k < BATCH; k++) {
        int head = first_head + (from + k) * NEXT;
        float4 merged = {0, 0, 0, 0};
#pragma unroll
        for (int i = 0; i < AT_ONCE; i++) {
          float weight = lds_f(base + P_AT + ((i * SHARE + thread % SHARE) * N + head) * 4);
          merged.x += weight * its[k][i].x, merged.y += weight * its[k][i].y;
          merged.z += weight * its[k][i].z, merged.w += weight * its[k][i].w;
        }
#pragma unroll
        for (int over = 1; over < SHARE; over *= 2) {
          merged.x += __shfl_xor_sync(~0u, merged.x, over), merged.y += __shfl_xor_sync(~0u, merged.y, over);
          merged.z += __shfl_xor_sync(~0u, merged.z, over), merged.w += __shfl_xor_sync(~0u, merged.w, over);
        }
        if (head0 + head >= p.heads || thread % SHARE)
          continue;
        u32 low = pack(merged.x, merged.y), high = pack(merged.z, merged.w);
        u16* to = out + (from + k) * NEXT * p.out_head_stride;
        if (out_wide)
          *(uint2*)to = {low, high};
        else
          to[0] = low, to[1] = low >> 16, to[2] = high, to[3] = high >> 16;
      }
      from += BATCH;
      if (from >= UNITS)
        break;
      pull(from);
    }
    meet_all(); // before anything that others read here is overwritten, or gone
    if (item + step < items) {
      fetch_q(item + step);
      asm volatile("cp.async.wait_all;" ::: "memory");
      store_q(item + step);
      __syncthreads();
    }
  }
}
