# The CUDA plugin libfireseed_cuda.so (nvcc), and the emulated one of the tests (the C++ compiler, no GPU, no toolkit).
#
#   FIRESEED_CUDA=AUTO|ON|OFF       the plugin: where nvcc is found, always, never
#   FIRESEED_CUDA_ARCHS="90;90a"    instead of all architectures of a wheel
#   FIRESEED_CUDA_EMU=ON            builds libfireseed_cuda_emu.so with everything; else: ninja fireseed_cuda_emu
set(FIRESEED_CUDA_ARCHS "" CACHE STRING "Architectures to compile CUDA kernels for; empty: those of a wheel")
option(FIRESEED_CUDA_EMU "Build the emulated CUDA plugin of the tests" OFF)

set(cuda_dir "${CMAKE_CURRENT_SOURCE_DIR}/cuda")
file(GLOB cuda_runtime_sources CONFIGURE_DEPENDS "${cuda_dir}/runtime/*.cpp")
file(GLOB cuda_kernel_sources CONFIGURE_DEPENDS "${cuda_dir}/kernels/*.cu")
# Kernels that use wgmma are for Hopper alone, with its architecture-specific instructions; hosts choose them there.
file(GLOB cuda_wgmma_sources CONFIGURE_DEPENDS "${cuda_dir}/kernels/*_sm90.cu")
list(REMOVE_ITEM cuda_kernel_sources ${cuda_wgmma_sources})

# ---------------------------------------------------------------------------------------------------- the plugin
set(with_cuda OFF)
if(FIRESEED_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    set(with_cuda ON)
  elseif(NOT FIRESEED_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "FIRESEED_CUDA=${FIRESEED_CUDA}, but no nvcc was found; put it on PATH or set CUDACXX")
  endif()
endif()
if(with_cuda)
  set(archs "${FIRESEED_CUDA_ARCHS}")
  if(NOT archs)
    set(archs 75-real 80-real 80-virtual 90-real 100-real 120-real)
  elseif(archs STREQUAL "native" AND NOT EXISTS /dev/nvidia0)
    set(archs 90-real)
    message(STATUS "No GPU here: FIRESEED_CUDA_ARCHS=native means 90")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "${archs}")
  if(FIRESEED_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER "${FIRESEED_CCACHE}")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  include(cmake/nvcc.cmake)
  string(REGEX REPLACE "-O[0-9]" "" CMAKE_CUDA_FLAGS_RELEASE "${CMAKE_CUDA_FLAGS_RELEASE}")  # of host code
  if(NOT FIRESEED_CUDA_ARCHS)
    fireseed_one_unit(cuda_kernel_sources cuda_rare_sources)
  endif()
  fireseed_small_code(${cuda_kernel_sources} ${cuda_rare_sources} ${cuda_wgmma_sources})
  add_library(fireseed_cuda_wgmma OBJECT ${cuda_wgmma_sources})
  add_library(fireseed_cuda MODULE ${cuda_runtime_sources} ${cuda_kernel_sources})
  set(cuda_targets fireseed_cuda fireseed_cuda_wgmma)
  if(cuda_rare_sources)
    add_library(fireseed_cuda_rare OBJECT ${cuda_rare_sources})
    list(APPEND cuda_targets fireseed_cuda_rare)
  endif()
  foreach(target IN LISTS cuda_targets)
    target_include_directories(${target} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/cpp" "${cuda_dir}")
    target_include_directories(${target} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -fno-math-errno -fno-trapping-math>
      "$<$<COMPILE_LANGUAGE:CUDA>:${FS_NVCC_OPTIONS};-compress-mode=size;-Xcompiler=-Wall,-Os>")
    set_target_properties(${target} PROPERTIES
      CUDA_STANDARD 20 CUDA_STANDARD_REQUIRED ON CUDA_RUNTIME_LIBRARY Static POSITION_INDEPENDENT_CODE ON
      CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON
      LIBRARY_OUTPUT_DIRECTORY "${package_dir}")
  endforeach()
  set_target_properties(fireseed_cuda_wgmma PROPERTIES CUDA_ARCHITECTURES 90a-real)
  target_sources(fireseed_cuda PRIVATE $<TARGET_OBJECTS:fireseed_cuda_wgmma>)
  if(cuda_rare_sources)
    set_target_properties(fireseed_cuda_rare PROPERTIES CUDA_ARCHITECTURES 75-virtual)
    target_sources(fireseed_cuda PRIVATE $<TARGET_OBJECTS:fireseed_cuda_rare>)
  endif()
  target_link_libraries(fireseed_cuda PRIVATE fireseed Threads::Threads)
  target_link_options(fireseed_cuda PRIVATE -Wl,--exclude-libs,ALL -Wl,--as-needed)
  install(TARGETS fireseed_cuda LIBRARY DESTINATION fireseed)
  message(STATUS "CUDA plugin for: ${archs}")
else()
  message(STATUS "CUDA plugin: not built")
endif()

add_subdirectory(cmake/cuda_emu)  # a folder of its own: there .cu files are C++
