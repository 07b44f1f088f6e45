// Kernels for x86-64-v3 (AVX2 and FMA).
#define FS_ISA v3
#include "cpu/isa/table.inc"
