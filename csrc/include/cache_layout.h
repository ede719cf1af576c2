// The bytes of a cached token: the numbers of sparse_mla/cache/layout.py, which explains them. A test compares the two.
#pragma once
constexpr int NOPE_DIM = 448;    // e4m3fn elements of a token
constexpr int ROPE_DIM = 64;     // bf16 elements of a token
constexpr int HEAD_DIM = 512;    // elements of a token
constexpr int GROUP_DIM = 64;    // consecutive NoPE elements that share a scale
constexpr int GROUPS = 7;        // scales of a token
constexpr int ROPE_OFFSET = 448; // bytes into a data record
constexpr int DATA_BYTES = 576;  // bytes of a data record; token t's lies at t * DATA_BYTES in its block
constexpr int SCALE_BYTES = 8;   // bytes of a scale record; token t's lies at block_size * DATA_BYTES + t * SCALE_BYTES
constexpr int TOKEN_BYTES = 584; // bytes of a token; a block stride is at least block_size of them
constexpr int SCALE_BIAS = 127;  // a scale byte b means 2^(b - SCALE_BIAS); 255 is NaN
