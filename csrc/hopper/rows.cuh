// The rows of a decode: which tiles each has, and which slots a tile's tokens are in.
#pragma once
#include "decode_params.h"
#include "hopper/ptx.cuh"

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
