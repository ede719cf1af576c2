// The end of a row: what the programs of a cluster have summed becomes the output.
#pragma once
#include "decode_params.h"
#include "hopper/ptx.cuh"

// Called by 256 threads of each program. Each has left its sums in its shared memory at SUMS_AT, four dims of a head at
// sum_at(head, dim), and at ML_AT maxima and sums of weights; at P_AT is room for f32 [split][head]. `sink`: of head tid / (256 /
// N), log2 domain.
template <class At>
__device__ __forceinline__ void merge(const DecodeParams& p, u32 base, int tid, int rank, int query_row, int head0, float sink,
                                      bool out_wide, At sum_at) {
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
        its[k][i] = remote4(base + SUMS_AT + sum_at(head, dim), i * SHARE + thread % SHARE);
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
  meet<256>(0);
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
}
