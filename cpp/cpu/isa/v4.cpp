// Kernels for x86-64-v4 (AVX-512).
#define FS_ISA v4
#include "cpu/isa/table.inc"
