// TensorRT engines inside Paddle's GPU runtime: built for the shapes in deploy.yaml, and cached. Not run on a GPU yet.
#pragma once

#include <paddle_inference_api.h>

#include <memory>
#include <string>

#include "contract.hpp"

namespace rtseg {

/// Make `config` one for the first GPU. Throws InputError if this Paddle is built without CUDA.
void enable_gpu(paddle_infer::Config& config, paddle_infer::PrecisionType precision);

/// A predictor whose network runs in TensorRT, wholly or in part. The first call for a model builds engines, which
/// takes minutes; they are kept in cache_root(), in a folder named by everything that they depend on. Throws InputError
/// if this Paddle has no TensorRT or no engine could be built: without one, the plain GPU runtime would run instead,
/// only slower.
std::shared_ptr<paddle_infer::Predictor> create_tensorrt_predictor(const Contract& contract,
                                                                   const std::string& precision);

}  // namespace rtseg
