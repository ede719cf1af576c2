// What decode_op.cpp needs of HIP, declared for machines without ROCm. With ROCm its own header is found, and this folder stays
// off the search path.
#pragma once
#include <cstddef>
#include <cstdint>

enum hipError_t : int { hipSuccess = 0 };
using hipStream_t = struct ihipStream_t*;
using hipModule_t = struct ihipModule_t*;
using hipFunction_t = struct ihipModuleSymbol_t*;

#define HIP_LAUNCH_PARAM_BUFFER_POINTER (reinterpret_cast<void*>(1))
#define HIP_LAUNCH_PARAM_BUFFER_SIZE (reinterpret_cast<void*>(2))
#define HIP_LAUNCH_PARAM_END (reinterpret_cast<void*>(3))

extern "C" {
hipError_t hipGetLastError();
const char* hipGetErrorName(hipError_t);
const char* hipGetErrorString(hipError_t);
hipError_t hipModuleLoadData(hipModule_t*, const void* image);
hipError_t hipModuleGetFunction(hipFunction_t*, hipModule_t, const char* name);
hipError_t hipModuleLaunchKernel(hipFunction_t, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                                 unsigned block_y, unsigned block_z, unsigned shared, hipStream_t, void** parameters,
                                 void** extra);
}
