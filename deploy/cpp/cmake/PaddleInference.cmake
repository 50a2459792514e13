# Defines the target paddle_inference from an unpacked Paddle Inference package (2.6 and 3.x), or from the library of an
# installed Python wheel. The variables have the names used in Paddle's own examples.
#
#   PADDLE_LIB       folder of the package: paddle/include, paddle/lib, third_party/install
#   WITH_MKL         the package is an MKL one (else OpenBLAS)
#   WITH_STATIC_LIB  link libpaddle_inference.a
#   WITH_GPU         the package is a GPU one; CUDA_LIB is the folder of libcudart.so
#   USE_TENSORRT     it has TensorRT; TENSORRT_ROOT is the folder of TensorRT's include and lib
#
#   PADDLE_WHEEL     instead of PADDLE_LIB: the folder of an installed `paddle` module
#   PADDLE_HEADERS   folder of Paddle's public inference headers (paddle_inference_api.h) for that version
#   PYTHON_LIBRARY   libpython of the Python that the wheel is for

add_library(paddle_inference INTERFACE)

# Link to the given files in `folder` by full path, and add the folder to the program's rpath.
function(paddle_link folder)
  foreach(pattern ${ARGN})
    file(GLOB found "${folder}/${pattern}")
    if(NOT found)
      message(FATAL_ERROR "expected ${pattern} in ${folder}, found none; check PADDLE_LIB and the options")
    endif()
    target_link_libraries(paddle_inference INTERFACE ${found})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY RTSEG_RPATH "${folder}")
endfunction()

if(PADDLE_WHEEL)
  if(NOT EXISTS "${PADDLE_HEADERS}/paddle_inference_api.h")
    message(FATAL_ERROR "expected paddle_inference_api.h in PADDLE_HEADERS, got '${PADDLE_HEADERS}'")
  endif()
  target_include_directories(paddle_inference SYSTEM INTERFACE "${PADDLE_HEADERS}")
  paddle_link("${PADDLE_WHEEL}/base" libpaddle.so)
  file(GLOB wheel_libraries RELATIVE "${PADDLE_WHEEL}/libs" "${PADDLE_WHEEL}/libs/libcommon.so"
       "${PADDLE_WHEEL}/libs/libphi*.so" "${PADDLE_WHEEL}/libs/libdnnl.so.?" "${PADDLE_WHEEL}/libs/libiomp5.so")
  paddle_link("${PADDLE_WHEEL}/libs" ${wheel_libraries})
  get_filename_component(python_folder "${PYTHON_LIBRARY}" DIRECTORY)
  get_filename_component(python_name "${PYTHON_LIBRARY}" NAME)
  paddle_link("${python_folder}" "${python_name}")  # libpaddle.so needs it but does not list it
elseif(PADDLE_LIB)
  set(third_party "${PADDLE_LIB}/third_party/install")
  target_include_directories(paddle_inference SYSTEM INTERFACE "${PADDLE_LIB}/paddle/include")
  if(WITH_STATIC_LIB)
    paddle_link("${PADDLE_LIB}/paddle/lib" libpaddle_inference.a)
    foreach(name glog gflags protobuf xxhash cryptopp utf8proc)
      file(GLOB archives "${third_party}/${name}/lib*/*.a")
      target_link_libraries(paddle_inference INTERFACE ${archives})
    endforeach()
    target_link_libraries(paddle_inference INTERFACE dl rt z pthread)
  else()
    paddle_link("${PADDLE_LIB}/paddle/lib" libpaddle_inference.so)
  endif()
  # Paddle 3 has these separately; Paddle 2.6 has only libphi.so, or none of them.
  file(GLOB parts RELATIVE "${PADDLE_LIB}/paddle/lib" "${PADDLE_LIB}/paddle/lib/libcommon.so"
       "${PADDLE_LIB}/paddle/lib/libphi*.so")
  paddle_link("${PADDLE_LIB}/paddle/lib" ${parts})
  if(WITH_MKL)
    paddle_link("${third_party}/mklml/lib" libmklml_intel.so libiomp5.so)
    if(EXISTS "${third_party}/onednn")
      paddle_link("${third_party}/onednn/lib" libdnnl.so.?)
    else()
      paddle_link("${third_party}/mkldnn/lib" libdnnl.so.?)  # its name up to Paddle 2.6
    endif()
  else()
    file(GLOB blas RELATIVE "${third_party}/openblas/lib" "${third_party}/openblas/lib/libopenblas.*")
    paddle_link("${third_party}/openblas/lib" ${blas})
  endif()
  # The libraries above load these when the program starts, if the package has them.
  foreach(name openvino/intel64 tbb/lib onnxruntime/lib paddle2onnx/lib)
    if(EXISTS "${third_party}/${name}")
      set_property(GLOBAL APPEND PROPERTY RTSEG_RPATH "${third_party}/${name}")
    endif()
  endforeach()
  if(WITH_GPU)
    paddle_link("${CUDA_LIB}" libcudart.so)
  endif()
  if(USE_TENSORRT)
    target_include_directories(paddle_inference SYSTEM INTERFACE "${TENSORRT_ROOT}/include")
    paddle_link("${TENSORRT_ROOT}/lib" libnvinfer.so libnvinfer_plugin.so)
  endif()
endif()

get_property(rpath GLOBAL PROPERTY RTSEG_RPATH)
list(REMOVE_DUPLICATES rpath)
string(REPLACE ";" ":" rpath "${rpath}")
# The program lists all of Paddle's libraries itself (no-as-needed), because they do not all find each other. Symbols
# that shared libraries lack are left to the loader: at link time the rpath would be searched for OpenCV's libraries
# too, and a wheel brings a libblas.so.3 that lacks symbols which the system's has.
target_link_options(paddle_inference INTERFACE "LINKER:-rpath,${rpath}" "LINKER:--no-as-needed"
                    "LINKER:--allow-shlib-undefined")
