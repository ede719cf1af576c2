// The product's decode for few rows, which leave most compute units idle. Grid (rows, SHARES x blocks of 16 heads, split_k), 256
// threads: SHARES workgroups, neighbours in y, divide the output's dims among them. Each scores all tokens of its part, but has
// fewer products, and less to leave, and the workgroup of a share that comes last merges the row's parts: there is no second
// launch. A row's own length decides, on the device, into how many of split_k parts it is cut: no more than have a step to do.
// flags: -mllvm -amdgpu-kernarg-preload-count=14
#if defined(__gfx950__)
#include "few_merge.h"

using namespace few;

constexpr int SHARES = 4;

// A kernel's arguments: DecodeParams, its first part in the wave's registers when it starts.
#define PARAMS                                                                                                                   \
  const int32_t *main_indices, const int32_t *main_indptr, const int32_t *extra_indices, const int32_t *extra_indptr,            \
      uint32_t magic, uint32_t shift, int32_t main_even, int32_t extra_even, const bf16 *q, const Late late
#define PACKED {{{main_indices, main_indptr}, {extra_indices, extra_indptr}, {magic, shift}, main_even, extra_even, q}, late}

__device__ __forceinline__ void decode(Shared& lds, const DecodeParams& p) {
  const int row = blockIdx.x, block = blockIdx.y / SHARES, head0 = block * BLOCK_HEADS, split = blockIdx.z;
  const int share = blockIdx.y % SHARES;
  const int wave = uniform(threadIdx.x / WAVE_SIZE), lane = threadIdx.x % WAVE_SIZE;
  const int head = head0 + HEADS_PER_WAVE * wave + lane / 16; // in the merge
  const auto share_out = [&](const Row& all) { return share_of(p, all, split); };
  // Slots are asked for by a guess of where the row's lists are, while these and the other arguments are on their way.
  const Ends guess = even_ends(p, row);
  Ends ends = ends_of(p, row);
  __builtin_amdgcn_sched_barrier(0);
  Listed listed;
  fetch_slots(listed, row_of(p, guess), share_out(row_of(p, guess)).begin + wave, lane % 16);
  // Memory that will be wanted is touched, so that its addresses are translated by then.
  const int touched_q = load_unaligned<int>(p.q);
  __builtin_amdgcn_sched_barrier(0);
  const Quarter quarter = load_q(p, row, head0 + lane % 16, wave, lane / 16);
  float sink = sink_of(p, head);
  asm volatile("" // all arguments, and the ends, are here by now, and not waited for before
               : "+s"(ends.main[0]), "+s"(ends.main[1]), "+s"(ends.extra[0]), "+s"(ends.extra[1])
               : "s"(p.main.cache), "s"(p.main.block_stride), "s"(p.main.num_slots), "s"(p.main.block_size),
                 "s"(p.main.block.magic), "s"(p.main.block.shift), "s"(p.extra.cache), "s"(p.extra.block_stride),
                 "s"(p.extra.num_slots), "s"(p.extra.block_size), "s"(p.extra.block.magic), "s"(p.extra.block.shift), "s"(p.rows),
                 "s"(p.scale));
  const Row work = row_of(p, ends);
  const Share mine = share_out(work);
  if (split * mine.each >= mine.steps)
    return;
  const int part_head = (row * p.split_k + split) * p.heads + head0, dim = HEAD_DIM / SHARES * share;
  const auto touch = [&](bool there, const void* address) { return load_unaligned<int>(there ? address : p.q); };
  const bool parts_kept = p.split_k > 1;
  const int touched[] = {
      touched_q, touch(true, p.out + row * p.out_row_stride + head0 * p.out_head_stride + dim),
      touch(p.lse != nullptr && share == 0, p.lse + row * p.heads + head0),
      touch(parts_kept, static_cast<const float*>(p.partial_acc) + static_cast<int64_t>(part_head) * HEAD_DIM + dim),
      touch(parts_kept, p.partial_ml + ml_at(p, part_head, share))};
  uint32_t* const arrivals = p.arrivals + row * (gridDim.y / SHARES) + block;
  const uint32_t touched_arrivals = parts_kept ? __hip_atomic_load(arrivals, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_AGENT) : 0;

  if (UNLIKELY(ends != guess)) {
    asm volatile("" : "+v"(listed.slot[0]), "+v"(listed.slot[1])); // waited for here
    fetch_slots(listed, work, mine.begin + wave, lane % 16);
    asm volatile("" : "+v"(listed.slot[0]), "+v"(listed.slot[1])); // and here
  }
  OnlineOf<SHARES> state = {};
  state.max = NO_MAX;
  attend(state, work, listed, quarter, share, mine.begin + wave, mine.end, lds.tile[wave], lds.q, wave, lane);
  leave(lds, state, wave, lane);
  __syncthreads();

  PartOf<SHARES> part;
  merge_waves(part, lds, head - head0, lane, share);
  asm volatile(""
               : "+v"(sink)
               : "v"(touched[0]), "v"(touched[1]), "v"(touched[2]), "v"(touched[3]), "v"(touched[4]),
                 "v"(touched_arrivals)); // waited for before any store
  if (UNLIKELY(mine.each >= mine.steps))
    return finish(p, row, head, part, sink, lane, share);
  keep(p, row, split, head, part, lane, share);

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
  merge_parts<MAX_SPLIT, SHARES>(p, row, head, parts_of_row, sink, lane, share, share);
}

extern "C" __global__ __launch_bounds__(THREADS, 1) void mla_decode_few(PARAMS) {
  __shared__ Shared lds;
  decode(lds, PACKED);
}
#endif
