// FS_HD: functions that run on the host and, compiled by nvcc, on the device.
#pragma once

#if defined(__CUDACC__)
#define FS_HD __host__ __device__
#else
#define FS_HD
#endif
