// The product kernels. Grid (rows, blocks of 16 heads, split_k), 512 threads. A whole row is written at once. Parts of a row are
// left in the workspace: for the part of the row that comes last, where the launch has counters of arrivals, else for a second
// launch.
// flags: -mllvm -amdgpu-kernarg-preload-count=14
#if defined(__gfx950__)
#include "shared_tile.h"

using namespace shared;
using product::Ends, product::ends_of, product::even_ends, product::merge_parts, product::sink_of;

template <bool SPLIT> __device__ __forceinline__ void decode(Shared& lds, const DecodeParams& p) {
  const int tid = threadIdx.x, row = blockIdx.x, head0 = blockIdx.y * BLOCK_HEADS;
  const int wave = uniform(tid / WAVE_SIZE), lane = tid % WAVE_SIZE, split = SPLIT ? blockIdx.z : 0;
  const auto part_of = [&](const Tiles& tiles) {
    const auto at = [&](int n) { return static_cast<int>(divide(n * tiles.all, p.split)); };
    return SPLIT ? Range{at(split), at(split + 1)} : Range{0, tiles.all};
  };
  // Slots are asked for by a guess of where the row's lists are, while these and the other arguments are on their way.
  const Ends guess = even_ends(p, row);
  Ends ends = ends_of(p, row);
  __builtin_amdgcn_sched_barrier(0);
  Ahead ahead;
  fetch_ahead(ahead, row_of(p, guess), part_of(tiles_of(row_of(p, guess))), wave, lane % 16);
  // Memory that will be wanted is touched, so that its addresses are translated by then.
  const int touched_q = load_unaligned<int>(p.q);
  __builtin_amdgcn_sched_barrier(0);
  bf16x8 share[SHARE];
  load_q(share, p, row, head0 + lane % 16, wave, lane / 16);
  float sink = 0.0f;
  if constexpr (!SPLIT)
    sink = sink_of(p, head0 + lane % 16);
  asm volatile("" // all arguments, and the ends, are here by now, and not waited for before
               : "+s"(ends.main[0]), "+s"(ends.main[1]), "+s"(ends.extra[0]), "+s"(ends.extra[1])
               : "s"(p.main.cache), "s"(p.main.block_stride), "s"(p.main.num_slots), "s"(p.main.block_size),
                 "s"(p.main.block.magic), "s"(p.main.block.shift), "s"(p.extra.cache), "s"(p.extra.block_stride),
                 "s"(p.extra.num_slots), "s"(p.extra.block_size), "s"(p.extra.block.magic), "s"(p.extra.block.shift),
                 "s"(p.scale));
  const Row work = row_of(p, ends);
  const Tiles tiles = tiles_of(work);
  const Range mine = part_of(tiles);
  const int64_t first_part = (static_cast<int64_t>(row) * p.split_k + split) * p.heads + head0;
  float* const acc = static_cast<float*>(p.partial_acc);
  int touched[2];
  if constexpr (SPLIT) {
    touched[0] = load_unaligned<int>(acc + first_part * HEAD_DIM);
    touched[1] = load_unaligned<int>(p.partial_ml + first_part * 2);
  } else {
    touched[0] = load_unaligned<int>(p.out + row * p.out_row_stride + head0 * p.out_head_stride);
    touched[1] = load_unaligned<int>(p.lse != nullptr ? static_cast<const void*>(p.lse + row * p.heads + head0) : p.q);
  }
  if (UNLIKELY(ends != guess)) {
    asm volatile("" : "+v"(ahead.first), "+v"(ahead.second)); // waited for here
    fetch_ahead(ahead, work, mine, wave, lane % 16);
    asm volatile("" : "+v"(ahead.first), "+v"(ahead.second)); // and here
  }
  Online state = {};
  state.max = NO_MAX;
  attend(state, work, tiles, share, ahead, mine.begin, mine.end, lds, wave, lane);
  asm volatile("" : "+v"(sink) : "v"(touched_q), "v"(touched[0]), "v"(touched[1])); // waited for before any store
  leave(lds, state, wave, lane);
  __syncthreads();

  const int first_head = HEADS_PER_WAVE * wave, heads = min(HEADS_PER_WAVE, p.heads - head0 - first_head);
  Part parts[HEADS_PER_WAVE];
  gather_heads(parts, lds, first_head, lane);
  if constexpr (!SPLIT) {
#pragma unroll
    for (int i = 0; i < HEADS_PER_WAVE; ++i)
      if (i < heads)
        finish(p, row, head0 + first_head + i, parts[i], broadcast_lane(sink, first_head + i), lane);
    return;
  }
#pragma unroll
  for (int i = 0; i < HEADS_PER_WAVE; ++i) {
    const int64_t at = first_part + first_head + i;
    if (i >= heads)
      break;
    if (lane == 0)
      store_unaligned(p.partial_ml + at * 2, f32x2{parts[i].max, parts[i].sum});
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad)
      *reinterpret_cast<f32x4*>(acc + at * HEAD_DIM + 4 * (WAVE_SIZE * quad + lane)) = parts[i].acc[quad];
  }
  if (p.arrivals == nullptr)
    return;

  // The workgroup of a row and head block that arrives last merges them all: it needs nobody to be resident. Its fence pairs with
  // those of the others; all stores of a workgroup are in its XCD's L2 when thread 0 writes that back.
  __syncthreads();
  if (tid == 0) {
    uint32_t* const arrivals = p.arrivals + row * gridDim.y + blockIdx.y;
    const uint32_t before = __hip_atomic_fetch_add(arrivals, 1u, __ATOMIC_ACQ_REL, __HIP_MEMORY_SCOPE_AGENT);
    lds.last = before + 1 == static_cast<uint32_t>(p.split_k);
    if (lds.last) // ready for the next launch
      __hip_atomic_store(arrivals, 0u, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
  }
  __syncthreads();
  if (!lds.last)
    return;
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "agent");
  merge_parts<HEADS_PER_WAVE, 4>(p, row, head0 + first_head, heads, lane);
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void mla_decode_product_fused(PARAMS) {
  __shared__ Shared lds;
  decode<false>(lds, PACKED);
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void mla_decode_product_split(PARAMS) {
  __shared__ Shared lds;
  decode<true>(lds, PACKED);
}

// The second launch of a split decode: grid (rows, heads), 64 threads.
extern "C" __global__ __launch_bounds__(WAVE_SIZE, 1) void mla_decode_product_reduce(const DecodeParams p) {
  merge_parts<1, product::MAX_SPLIT>(p, blockIdx.x, blockIdx.y, 1, threadIdx.x);
}
#endif
