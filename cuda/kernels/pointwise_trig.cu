// Pointwise kernels: circular and hyperbolic functions (group 2 of ops.def).
#define FS_GROUP 2
#include "kernels/pointwise_kernels.inc"
#undef FS_GROUP
