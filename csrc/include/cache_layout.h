#pragma once
constexpr int HEAD_DIM = 512;
constexpr int NOPE_DIM = 448;
constexpr int ROPE_DIM = 64;
constexpr int GROUP_DIM = 64;
constexpr int GROUPS = 7;
constexpr int DATA_BYTES = 576;
constexpr int SCALE_BYTES = 8;
constexpr int TOKEN_BYTES = 584;
