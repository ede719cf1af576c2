// The one kernel argument, passed by value; the host fills the same bytes. Largest members first, so that there is no padding.
#pragma once
#include <hip/hip_runtime.h>

// One paged cache and each row's ragged list of slots in it. Absent: null pointers and zeros.
struct Segment {
  const uint8_t* cache;   // blocks of block_size records (cache_layout.h), `block_stride` apart
  const int32_t* indices; // [indptr[rows]] slot = block * block_size + place in it; < 0 or >= num_slots: attends to nothing
  const int32_t* indptr;  // [rows + 1] row r's slots are indices[indptr[r] : indptr[r + 1]]
  int64_t block_stride;   // bytes, >= block_size * TOKEN_BYTES; block * block_stride may pass 4 GiB
  int32_t num_slots;
  int32_t block_size; // records in a block
};

struct DecodeParams {
  const __bf16* q;        // [rows, heads, HEAD_DIM], last stride 1
  __bf16* out;            // [rows, heads, HEAD_DIM], last stride 1
  float* lse;             // [rows, heads] natural log, without the sink, -inf where nothing is attended; may be null
  const float* attn_sink; // [heads] natural log; may be null
  void* partial_acc;      // [rows, split_k, heads, HEAD_DIM] fp32 or bf16, not normalised; split kernels only
  float* partial_ml;      // [rows, split_k, heads, 2] running maximum (log2 domain, scaled) and sum; split kernels only
  int64_t q_row_stride, q_head_stride;     // elements
  int64_t out_row_stride, out_head_stride; // elements
  Segment main, extra;
  int32_t rows, heads; // heads of this rank, any number: blocks of 16 are padded
  int32_t split_k;     // 1..16
  float scale;         // of q . k, natural-log domain
};

// The host packs the same structs with Python's struct module: these are its offsets.
#define HOST_OFFSET(Struct, member, offset) static_assert(__builtin_offsetof(Struct, member) == offset, "the host's bytes differ")
HOST_OFFSET(Segment, block_stride, 24);
HOST_OFFSET(Segment, num_slots, 32);
HOST_OFFSET(DecodeParams, partial_ml, 40);
HOST_OFFSET(DecodeParams, q_row_stride, 48);
HOST_OFFSET(DecodeParams, main, 80);
HOST_OFFSET(DecodeParams, extra, 120);
HOST_OFFSET(DecodeParams, rows, 160);
HOST_OFFSET(DecodeParams, scale, 172);
#undef HOST_OFFSET
static_assert(sizeof(Segment) == 40 && sizeof(DecodeParams) == 176, "the host's bytes differ");
