// The few words of HIP that our kernels use. A ROCm compiler brings its own runtime header (it force-includes a wrapper, which we
// test for); any other clang with the AMDGPU target gets the same words from here, so that no ROCm installation is needed to
// build.
#pragma once

#if defined(__CLANG_HIP_RUNTIME_WRAPPER_H__)
#include <hip/hip_runtime.h>
#else

#define __device__ __attribute__((device))
#define __global__ __attribute__((global))
#define __shared__ __attribute__((shared))
#define __forceinline__ inline __attribute__((always_inline))
// clang's own launch_bounds attribute leaves the largest workgroup at 1024 threads, hence a cap of 128 VGPRs and other code than
// ROCm's: say both facts in the backend's own terms. The second number is waves per SIMD ("execution unit").
#define __launch_bounds__(threads, waves) __attribute__((amdgpu_flat_work_group_size(1, threads), amdgpu_waves_per_eu(waves)))

// A bare clang has no C library headers for the device.
typedef __UINT8_TYPE__ uint8_t;
typedef __INT32_TYPE__ int32_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT64_TYPE__ uint64_t;

namespace hip_shim {
struct ThreadX {
  __device__ __forceinline__ operator unsigned() const { return __builtin_amdgcn_workitem_id_x(); }
};
struct BlockX {
  __device__ __forceinline__ operator unsigned() const { return __builtin_amdgcn_workgroup_id_x(); }
};
struct BlockY {
  __device__ __forceinline__ operator unsigned() const { return __builtin_amdgcn_workgroup_id_y(); }
};
struct BlockZ {
  __device__ __forceinline__ operator unsigned() const { return __builtin_amdgcn_workgroup_id_z(); }
};
struct ThreadIndex {
  ThreadX x;
};
struct BlockIndex {
  BlockX x;
  BlockY y;
  BlockZ z;
};
} // namespace hip_shim
static constexpr hip_shim::ThreadIndex threadIdx{};
static constexpr hip_shim::BlockIndex blockIdx{};

// Everything written before it by any thread of the workgroup is seen after it by all. s_barrier itself waits for no memory: the
// fences do.
static __device__ __forceinline__ void __syncthreads() {
  __builtin_amdgcn_fence(__ATOMIC_RELEASE, "workgroup");
  __builtin_amdgcn_s_barrier();
  __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "workgroup");
}
#endif
