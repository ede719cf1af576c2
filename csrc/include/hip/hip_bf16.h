// bfloat16 by HIP's names; what is said of it in hip_fp16.h holds.
#pragma once
#include <hip/hip_fp16.h>

#if defined(__CLANG_HIP_RUNTIME_WRAPPER_H__)
#include_next <hip/hip_bf16.h>
#else
typedef __bf16 __hip_bfloat16;
typedef __bf16 hip_bfloat16;
typedef __bf16 __hip_bfloat162 __attribute__((ext_vector_type(2)));
HIP_SHIM_SMALL(__hip_bfloat16, __hip_bfloat162, bfloat16)
#endif
