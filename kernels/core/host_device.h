#pragma once

// Marks functions that CUDA kernels call as well as host code. Other compilers see plain functions.
#ifdef __CUDACC__
#define UVIC_HD __host__ __device__
#else
#define UVIC_HD
#endif
