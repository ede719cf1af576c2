// The one kernel argument, passed by value; the host fills the same bytes. Largest members first, so that there is no padding.
#pragma once
#include <hip/hip_runtime.h>

// Division of numbers below 2^31 by one that stays the same: n / divisor = mulhi(2 n, magic) >> shift.
struct Divisor {
  uint32_t magic, shift;
};

// One paged cache and each row's ragged list of slots in it. Absent: null pointers and zeros.
struct Segment {
  const uint8_t* cache;   // blocks of block_size records (cache_layout.h), `block_stride` apart
  const int32_t* indices; // [indptr[rows]] slot = block * block_size + place in it; < 0 or >= num_slots: attends to nothing
  const int32_t* indptr;  // [rows + 1] row r's slots are indices[indptr[r] : indptr[r + 1]]
  int64_t block_stride;   // bytes, >= block_size * TOKEN_BYTES; block * block_stride may pass 4 GiB
  int32_t num_slots;
  int32_t block_size; // records in a block
  Divisor block;      // by block_size
};

struct DecodeParams {
  const __bf16* q;        // [rows, heads, HEAD_DIM], last stride 1
  __bf16* out;            // [rows, heads, HEAD_DIM], last stride 1
  float* lse;             // [rows, heads] natural log, without the sink, -inf where nothing is attended; may be null
  const float* attn_sink; // [heads] natural log; may be null
  void* partial_acc;      // [rows, split_k, heads, HEAD_DIM] fp32 or bf16, not normalised; split kernels only
  float* partial_ml;      // [rows, split_k, heads, 2] running maximum (log2 domain, scaled) and sum; split kernels only
  uint32_t* arrivals;     // [rows, head blocks] zero before and after every launch; single-launch split kernels only
  int64_t q_row_stride, q_head_stride;     // elements
  int64_t out_row_stride, out_head_stride; // elements
  Segment main, extra;
  int32_t rows, heads; // heads of this rank, any number: blocks of 16 are padded
  int32_t split_k;
  float scale;   // of q . k, natural-log domain
  Divisor split; // by split_k
};

// The host packs the same structs with Python's struct module: these are its offsets.
#define HOST_OFFSET(Struct, member, offset) static_assert(__builtin_offsetof(Struct, member) == offset, "the host's bytes differ")
HOST_OFFSET(Segment, block_stride, 24);
HOST_OFFSET(Segment, num_slots, 32);
HOST_OFFSET(DecodeParams, arrivals, 48);
HOST_OFFSET(DecodeParams, q_row_stride, 56);
HOST_OFFSET(DecodeParams, main, 88);
HOST_OFFSET(DecodeParams, extra, 136);
HOST_OFFSET(DecodeParams, rows, 184);
HOST_OFFSET(DecodeParams, split, 200);
#undef HOST_OFFSET
static_assert(sizeof(Segment) == 48 && sizeof(DecodeParams) == 208, "the host's bytes differ");
