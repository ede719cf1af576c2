// The product's decode for few rows, which leave most compute units idle. Grid (rows, SHARES x blocks of 16 heads, split_k), 512
// threads: SHARES workgroups, neighbours in y, divide the output's dims among them. Each scores all tokens of its part, but has
// fewer products, and less to leave, and the workgroup of a share that comes last merges the row's parts: there is no second
// launch. A row's own length decides, on the device, into how many of split_k parts it is cut: no more than have a step to do.
// flags: -mllvm -amdgpu-kernarg-preload-count=14 -mllvm -structurizecfg-skip-uniform-regions -mllvm -simplifycfg-sink-common=0
#if defined(__gfx950__)
#include "few_merge.h"

namespace few {

// Part `split` of a row that was launched in p.split_k: as few parts as take no more tiles than that many would. So a row's own
// length decides how many of its workgroups have work, 0 .. parts - 1, at a replayed launch too.
struct Range {
  uint32_t begin, end, all, each;
  __device__ __forceinline__ uint32_t parts() const { return (all + each - 1) / each; }
};
__device__ __forceinline__ Range range_of(const DecodeParams& p, const Tiles& tiles, int split) {
  const uint32_t all = max(1, tiles.all), each = divide(all - 1, p.split) + 1;
  const uint32_t begin = split * each;
  return {begin, min(begin + each, all), all, each};
}

__device__ __forceinline__ void decode(Shared& lds, DecodeParams p) {
  const int row = blockIdx.x, block = blockIdx.y / SHARES, head0 = block * BLOCK_HEADS, split = blockIdx.z;
  const int share = blockIdx.y % SHARES;
  const int wave = uniform(threadIdx.x / WAVE_SIZE), lane = threadIdx.x % WAVE_SIZE;
  // What a lane has in the end: four dims of a head.
  const int head = head0 + lane % 16, out_slot = DIMS / 8 * share + 2 * wave + lane / 32;
  const int dim = dim_of_slot(out_slot & ~3, out_slot & 3) + lane / 16 % 2 * 4;
  // Slots are asked for by a guess of where the row's lists are, while these and the other arguments are on their way.
  Ends guess = even_ends(p, row);
  Ends ends = ends_of(p, row);
  __builtin_amdgcn_sched_barrier(0);
  Row work = row_of(p, guess);
  Tiles tiles = tiles_of(work);
  Range mine = range_of(p, tiles, split);
  Ahead ahead;
  const auto fetch = [&](int i) { ahead.slot[i] = slot_of(work, tiles, mine.begin + i, mine.end, wave, lane % 16); };
  fetch(0);
  // Memory that will be wanted is touched, so that its addresses are translated by then.
  const int touched_q = load_unaligned<int>(p.q);
  __builtin_amdgcn_sched_barrier(0);
  const Order order = order_of(share);
  fetch(1);
  fetch(2);
  __builtin_amdgcn_sched_barrier(0);
  bf16x8 part_of_q[SHARE];
  load_q(part_of_q, p, row, head0 + lane % 16, wave, lane / 16);
  asm volatile("" // all arguments, and the ends, are here by now, and not waited for before
               : "+s"(ends.main[0]), "+s"(ends.main[1]), "+s"(ends.extra[0]), "+s"(ends.extra[1]), "+s"(p.heads), "+s"(p.split_k)
               : "s"(p.main.cache), "s"(p.main.block_stride), "s"(p.main.num_slots), "s"(p.main.block_size),
                 "s"(p.main.block.magic), "s"(p.main.block.shift), "s"(p.extra.cache), "s"(p.extra.block_stride),
                 "s"(p.extra.num_slots), "s"(p.extra.block_size), "s"(p.extra.block.magic), "s"(p.extra.block.shift), "s"(p.rows),
                 "s"(p.scale));
  if (UNLIKELY(ends != guess)) {
    const Row true_row = row_of(p, ends);
    work.main = true_row.main;
    work.extra = true_row.extra;
    tiles = tiles_of(work);
    mine = range_of(p, tiles, split);
    asm volatile("" : "+v"(ahead.slot[0]), "+v"(ahead.slot[1]), "+v"(ahead.slot[2])); // waited for here
    fetch(0);
    fetch(1);
    fetch(2);
    asm volatile("" : "+v"(ahead.slot[0]), "+v"(ahead.slot[1]), "+v"(ahead.slot[2])); // and here
  }
  if (mine.begin >= mine.all)
    return;
  const bool parts_kept = p.split_k > 1;
  uint32_t* const arrivals = p.arrivals + row * ((p.heads + BLOCK_HEADS - 1) / BLOCK_HEADS) + block;
  // Memory that will be written is touched behind the tile's loads, so that its addresses are translated by then.
  const int part_head = (row * p.split_k + split) * p.heads + head0, first_dim = DIMS * share;
  const auto own = [&](bool there, const void* address) { return there ? address : p.q; };
  const void* touch[] = {
      p.out + row * p.out_row_stride + head0 * p.out_head_stride + first_dim,
      own(p.lse != nullptr && share == 0, p.lse + row * p.heads + head0),
      own(parts_kept, static_cast<const float*>(p.partial_acc) + static_cast<int64_t>(part_head) * HEAD_DIM + first_dim),
      own(parts_kept, p.partial_ml + ml_at(p, part_head, share)), own(parts_kept, arrivals)};
  int touched[4];
  uint32_t touched_arrivals;
  float sink;
  const auto touch_all = [&] {
    sink = sink_of(p, head);
#pragma unroll
    for (int i = 0; i < 4; ++i)
      touched[i] = load_unaligned<int>(touch[i]);
    touched_arrivals = __hip_atomic_load(static_cast<const uint32_t*>(touch[4]), __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
  };
  Part part;
  attend(part, work, tiles, part_of_q, ahead, mine.begin, mine.end, order, share, lds, wave, lane, touch_all);
  asm volatile(""
               : "+v"(sink)
               : "v"(touched_q), "v"(touched[0]), "v"(touched[1]), "v"(touched[2]), "v"(touched[3]),
                 "v"(touched_arrivals)); // waited for before any store
  const bool first = wave == 0 && lane < 16;
  if (UNLIKELY(mine.each >= mine.all))
    return finish(p, row, head, dim, part, sink, first && share == 0);
  keep(p, row, split, head, dim, part, first, share);

  // The workgroup of a row, head block and share that arrives last merges them all: it needs nobody to be resident. Its fence
  // pairs with those of the others; all stores of a workgroup are in its XCD's L2 when thread 0 writes that back. Shares count in
  // bytes.
  const uint32_t parts_of_row = mine.parts();
  __syncthreads();
  if (wave == 0 && lane == 0) {
    const uint32_t before = __hip_atomic_fetch_add(arrivals, 1u << 8 * share, __ATOMIC_ACQ_REL, __HIP_MEMORY_SCOPE_AGENT);
    lds.last = (before >> 8 * share & 255) + 1 == parts_of_row;
    if (lds.last) // ready for the next launch
      __hip_atomic_fetch_sub(arrivals, parts_of_row << 8 * share, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT);
  }
  __syncthreads();
  if (!lds.last)
    return;
  merge_parts(p, row, head0 + HEADS_PER_WAVE * wave, parts_of_row, lane, share);
}

} // namespace few

extern "C" __global__ __launch_bounds__(few::THREADS, 1) void mla_decode_few(PARAMS) {
  __shared__ few::Shared lds;
  few::decode(lds, PACKED);
}
#endif
