# The kernel checks for a GPU: the tests of this folder in one program, kernels compiled by nvcc, the real CUDA runtime.
#   cmake -S tests/cuda_host -B build/cuda_device -G Ninja -DFS_CUDA_HOST_DEVICE=ON && ninja -C build/cuda_device
#   build/cuda_device/cuda_device_tests --gtest_filter=-*StopTheKernel*
# FS_CUDA_HOST_KERNELS: object files of cuda/kernels/ that the plugin's build has made, instead of compiling them again.
# FS_GOOGLETEST: GoogleTest's source folder, where it is not installed.
set(FS_CUDA_HOST_KERNELS "" CACHE STRING "Object files of cuda/kernels/, else they are compiled")
set(FS_GOOGLETEST "/usr/src/googletest" CACHE PATH "GoogleTest's sources, for where it is not installed")
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90-real)
endif()
if(FIRESEED_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${FIRESEED_CCACHE}")
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
string(REPLACE "-O1" "-O2" CMAKE_CXX_FLAGS_RELEASE "${CMAKE_CXX_FLAGS_RELEASE}")
include_directories("${CMAKE_CURRENT_SOURCE_DIR}" "${repository}/cuda" "${repository}/cpp")
include_directories(SYSTEM ${CUDAToolkit_INCLUDE_DIRS})
include("${repository}/cmake/nvcc.cmake")
add_compile_options("$<$<COMPILE_LANGUAGE:CUDA>:${FS_NVCC_OPTIONS}>")

# The intrinsics, with all of Hopper's: for its own instruction set alone.
add_executable(cuda_conformance ${conformance_sources})
set_target_properties(cuda_conformance PROPERTIES CUDA_ARCHITECTURES "90a-real")
target_link_libraries(cuda_conformance PRIVATE CUDA::cudart_static)

find_package(GTest QUIET)
if(NOT GTest_FOUND AND EXISTS "${FS_GOOGLETEST}/CMakeLists.txt")
  set(INSTALL_GTEST OFF CACHE BOOL "" FORCE)
  set(BUILD_GMOCK OFF CACHE BOOL "" FORCE)
  add_subdirectory("${FS_GOOGLETEST}" googletest EXCLUDE_FROM_ALL)
  if(NOT TARGET GTest::gtest_main)
    add_library(GTest::gtest_main ALIAS gtest_main)
  endif()
elseif(NOT GTest_FOUND)
  message(STATUS "GoogleTest not found (libgtest-dev, or FS_GOOGLETEST): the kernel tests are not built")
  return()
endif()

file(GLOB test_sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/test_*.cpp")
list(FILTER test_sources EXCLUDE REGEX "/test_(engine|planted_bugs)\\.cpp$")  # of the emulation itself
add_executable(cuda_device_tests ${test_sources} host_runtime.cc "${repository}/cpp/math/random.cpp")
foreach(source IN LISTS test_sources)
  file(STRINGS "${source}" kernels REGEX "FS_LAUNCH|\\.cuh\"")
  if(kernels)  # has kernels of its own, which may be Hopper's
    set_source_files_properties("${source}" PROPERTIES LANGUAGE CUDA COMPILE_OPTIONS
      "-gencode=arch=compute_90a,code=sm_90a")
  endif()
endforeach()
if(FS_CUDA_HOST_KERNELS)
  set_source_files_properties(${FS_CUDA_HOST_KERNELS} PROPERTIES EXTERNAL_OBJECT ON)
  target_sources(cuda_device_tests PRIVATE ${FS_CUDA_HOST_KERNELS})
else()
  file(GLOB kernel_sources CONFIGURE_DEPENDS "${repository}/cuda/kernels/*.cu")
  file(GLOB wgmma_sources CONFIGURE_DEPENDS "${repository}/cuda/kernels/*_sm90.cu")
  target_sources(cuda_device_tests PRIVATE ${kernel_sources})
  set_source_files_properties(${wgmma_sources} PROPERTIES COMPILE_OPTIONS "-gencode=arch=compute_90a,code=sm_90a")
  fireseed_small_code(${kernel_sources})  # as the plugin has them
endif()
target_link_libraries(cuda_device_tests PRIVATE GTest::gtest_main CUDA::cudart_static)
