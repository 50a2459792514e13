#!/bin/sh
# Build rtseg_infer against the library of an installed paddlepaddle wheel, without a Paddle Inference package.
#
#   ./build_with_wheel.sh HEADERS [BUILD_FOLDER] [PYTHON] [CMAKE_OPTION ...]
#
# HEADERS       folder with Paddle's public inference headers (paddle_inference_api.h and what it includes) of the
#               wheel's version; the wheel lacks them, Paddle Inference packages have them in paddle/include
# BUILD_FOLDER  default: build, next to this script
# PYTHON        the Python in which the wheel is installed; default: python3
# CMAKE_OPTION  more options, such as -DONNXRUNTIME=FOLDER
set -eu

if [ $# -lt 1 ]; then
  sed -n '2,11s/^# \{0,1\}//p' "$0"
  exit 2
fi
source=$(cd "$(dirname "$0")" && pwd)
headers=$1
build=${2:-$source/build}
python=${3:-python3}
shift $(($# < 3 ? $# : 3))

# Find paddle without importing it, which would take seconds and print warnings.
paddle=$("$python" -c 'import importlib.util as u, os; print(os.path.dirname(u.find_spec("paddle").origin))')
libpython=$("$python" -c 'import os, sysconfig; v = sysconfig.get_config_var; print(os.path.join(v("LIBDIR"), v("LDLIBRARY")))')

cmake -S "$source" -B "$build" -DPADDLE_WHEEL="$paddle" -DPADDLE_HEADERS="$headers" -DPYTHON_LIBRARY="$libpython" "$@"
cmake --build "$build" --parallel 2
