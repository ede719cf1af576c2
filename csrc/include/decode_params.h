// The one kernel argument, passed by value; the host fills the same bytes. Largest members first, so that there is no padding.
#pragma once
#include <hip/hip_runtime.h>

// Division of numbers below 2^31 by one that stays the same: n / divisor = mulhi(2 n, magic) >> shift.
struct Divisor {
  uint32_t magic, shift;
};

// One paged cache. Absent: null pointers and zeros.
struct Segment {
  const uint8_t* cache; // blocks of block_size records (cache_layout.h), `block_stride` apart
  int64_t block_stride; // bytes, >= block_size * TOKEN_BYTES; block * block_stride may pass 4 GiB
  int32_t num_slots;
  int32_t block_size; // records in a block
  Divisor block;      // by block_size
};

// Each row's ragged list of slots in a cache. Absent: null.
struct List {
  const int32_t* indices; // [indptr[rows]] slot = block * block_size + place in it; < 0 or >= num_slots: attends to nothing
  const int32_t* indptr;  // [rows + 1] row r's slots are indices[indptr[r] : indptr[r + 1]]
};

// What a decode wants first: 14 dwords, as many as a wave may find in its registers when it starts.
struct Early {
  List main_list, extra_list;
  Divisor split;                 // by split_k
  int32_t main_even, extra_even; // a guess of every row's slots: those of indices' size for each row, 0 where absent
  const __bf16* q;               // [rows, heads, HEAD_DIM], last stride 1
};

struct Late {
  __bf16* out;            // [rows, heads, HEAD_DIM], last stride 1
  float* lse;             // [rows, heads] natural log, without the sink, -inf where nothing is attended; may be null
  const float* attn_sink; // [heads] natural log; may be null
  void* partial_acc;      // [rows, split_k, heads, HEAD_DIM] fp32 or bf16, not normalised; split kernels only
  float* partial_ml;      // [shares, rows, split_k, heads, 2] running maximum (log2 domain, scaled) and sum; split kernels only
  uint32_t* arrivals;     // [rows, head blocks] zero before and after every launch; single-launch split kernels only
  int64_t q_row_stride, q_head_stride;     // elements
  int64_t out_row_stride, out_head_stride; // elements
  Segment main, extra;
  int32_t rows, heads; // heads of this rank, any number: blocks of 16 are padded
  int32_t split_k;
  float scale; // of q . k, natural-log domain
};

struct DecodeParams : Early, Late {};

// The host packs the same structs with Python's struct module: these are its offsets.
#define HOST_OFFSET(Struct, member, offset) static_assert(__builtin_offsetof(Struct, member) == offset, "the host's bytes differ")
HOST_OFFSET(Segment, num_slots, 16);
HOST_OFFSET(Early, split, 32);
HOST_OFFSET(Early, q, 48);
HOST_OFFSET(Late, arrivals, 40);
HOST_OFFSET(Late, q_row_stride, 48);
HOST_OFFSET(Late, main, 80);
HOST_OFFSET(Late, extra, 112);
HOST_OFFSET(Late, rows, 144);
#undef HOST_OFFSET
static_assert(sizeof(Segment) == 32 && sizeof(Early) == 56 && sizeof(DecodeParams) == 216, "the host's bytes differ");
