// Kernels for x86-64-v2 (SSE4.2).
#define FS_ISA v2
#include "cpu/isa/table.inc"
