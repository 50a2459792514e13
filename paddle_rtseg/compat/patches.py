"""PaddleSeg's defects on current Paddle: one small, dated patch each.

``PATCHES`` lists them all. Each patch states what it fixes and for which versions, and applies only where the
installed PaddleSeg contains the wrong text (:mod:`.patch`). PaddleSeg's develop branch has fixed most of them.

Four defects have no patch, because a patch cannot reach them or is not needed:

* RTFormer cannot be exported with a free batch size: ours can.
* PaddleSeg's deploy scripts, which are not part of its package: ``python -m paddle_rtseg.infer`` replaces them.
* The old zlib inside Paddle 2.6: :mod:`paddle_rtseg.plugin` imports Python's zlib first.
* ``paddle.flops`` on NumPy 2.4: this package requires NumPy below 2.
"""

from typing import List

from ..errors import InputError
from ..training import checkpoints, hooks
from ..training.loading import CheckedLoader
from ..training.sampling import ResumableSampler
from ..weights import paddle_files, pretrained
from .data_patches import DATA_PATCHES
from .evaluation_patches import EVALUATION_PATCHES
from .patch import Patch

_LOSSES = "paddleseg.models.losses."
_TRAIN = "paddleseg.core.train:train"

PATCHES = (
    Patch(
        name="cross-entropy types",
        defect="CrossEntropyLoss (plain, weighted or distilling) multiplies integers by floats: TypeError",
        paddleseg="2.9.0 and older",
        paddle=(3, 0),
        where=_LOSSES + "cross_entropy_loss:CrossEntropyLoss._post_process_loss",
        changes=[
            ("F.one_hot(label * mask,", "F.one_hot(label * mask.astype(label.dtype),"),
            ("coef = paddle.ones_like(label)", "coef = paddle.ones_like(mask)"),
        ],
    ),
    Patch(
        name="cross-entropy weight over all pixels",
        defect="CrossEntropyLoss with weight and avg_non_ignore=False one-hot encodes ignored pixels: ValueError",
        paddleseg="2.9.0 and older; newer versions weight all pixels equally in the average, and so does this patch",
        where=_LOSSES + "cross_entropy_loss:CrossEntropyLoss._post_process_loss",
        changes=[
            (
                "if self.weight is not None:\n            _one_hot",
                "if self.avg_non_ignore and self.weight is not None:\n            _one_hot",
            )
        ],
    ),
    Patch(
        name="OHEM types",
        defect="OhemCrossEntropyLoss adds an integer mask to probabilities when more than min_kept pixels are valid: "
        "TypeError",
        paddleseg="2.9.0 and older",
        paddle=(3, 0),
        where=_LOSSES + "ohem_cross_entropy_loss:OhemCrossEntropyLoss.forward",
        changes=[("prob + (1 - valid_mask)\n", "prob + (1 - valid_mask).astype(prob.dtype)\n")],
    ),
    Patch(
        name="OHEM edge types",
        defect="OhemEdgeAttentionLoss adds an integer mask to probabilities in the same way: TypeError",
        paddleseg="2.9.0 and older",
        paddle=(3, 0),
        where=_LOSSES + "ohem_edge_attention_loss:OhemEdgeAttentionLoss.forward",
        changes=[("prob + (1 - valid_mask)\n", "prob + (1 - valid_mask).astype(prob.dtype)\n")],
    ),
    Patch(
        name="Dice labels",
        defect="DiceLoss overwrites ignored pixels in the caller's labels with class 0, for every later loss too",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_LOSSES + "dice_loss:DiceLoss.forward",
        changes=[
            (
                "labels[labels == self.ignore_index] = 0",
                "labels = paddle.where(labels == self.ignore_index, paddle.zeros_like(labels), labels)",
            )
        ],
    ),
    Patch(
        name="RMI types",
        defect="RMILoss multiplies floats by a boolean mask: TypeError",
        paddleseg="2.9.0 and older",
        paddle=(3, 0),
        where=_LOSSES + "rmi_loss:RMILoss.forward_sigmoid",
        changes=[
            ("label_mask_3D, axis=3)\n", "label_mask_3D, axis=3).astype('float32')\n"),
            ("label_mask_3D, axis=1) +", "label_mask_3D, axis=1).astype('float32') +"),
        ],
    ),
    Patch(
        name="DualTask types",
        defect="DualTaskLoss multiplies floats and integers by a boolean mask: TypeError",
        paddleseg="2.9.0 and older",
        paddle=(3, 0),
        where=_LOSSES + "gscnn_dual_task_loss:DualTaskLoss.forward",
        changes=[
            ("logit = logit * mask\n", "logit = logit * mask.astype(logit.dtype)\n"),
            ("labels = labels * mask\n", "labels = labels * mask.astype(labels.dtype)\n"),
            ("loss = loss * mask\n", "loss = loss * mask.astype(loss.dtype)\n"),
        ],
    ),
    Patch(
        name="RelaxBoundary types",
        defect="RelaxBoundaryLoss multiplies logarithms by integers: TypeError on Paddle 3; on Paddle 2 the product is "
        "truncated to integers, which leaves no gradient",
        paddleseg="2.9.0 and older",
        paddle=(2, 0),
        where=_LOSSES + "decoupledsegnet_relax_boundary_loss:RelaxBoundaryLoss.custom_nll",
        changes=[
            ("(soft * label[:, :-1, :, :]).sum(", "(soft * label[:, :-1, :, :].astype(soft.dtype)).sum("),
            ("(1 - label[:, :-1, :, :]) +", "(1 - label[:, :-1, :, :]).astype(soft.dtype) +"),
            ("label[:, :-1, :, :] * logsoft", "label[:, :-1, :, :].astype(soft.dtype) * logsoft"),
        ],
    ),
    Patch(
        name="scalar areas",
        defect="calculate_area calls concat on scalars: every evaluation fails",
        paddleseg="2.8.0 and older",
        where="paddleseg.utils.metrics:calculate_area",
        changes=[
            ("paddle.concat(pred_area)", "paddle.stack(pred_area)"),
            ("paddle.concat(label_area)", "paddle.stack(label_area)"),
            ("paddle.concat(intersect_area)", "paddle.stack(intersect_area)"),
        ],
    ),
    Patch(
        name="scalar losses in the log",
        defect="train() indexes scalar losses: IndexError at the first log line",
        paddleseg="2.8.0 and older",
        where=_TRAIN,
        changes=[("[l[0] / log_iters for l in avg_loss_list]", "[l.item() / log_iters for l in avg_loss_list]")],
    ),
    Patch(
        name="crop with a limit on one class",
        defect="RandomPaddingCrop with category_max_ratio returns the labels as the image, or the image uncropped",
        paddleseg="2.8.0 and older",
        paddle=(2, 0),
        where="paddleseg.transforms.transforms:RandomPaddingCrop.__call__",
        changes=[
            ("                    data['img'] = seg_temp\n                    break", "                    break"),
            ("        else:\n            data['img'] = functional.crop(", "        data['img'] = functional.crop("),
        ],
    ),
    Patch(
        name="profiler",
        defect="--profiler_options calls paddle.utils.profiler, which Paddle has removed: AttributeError",
        paddleseg="2.8.0 and older",
        where="paddleseg.utils.train_profiler:add_profiler_step",
        changes=[
            ("paddle.utils.profiler.start_profiler(", "start_profiler("),
            ("paddle.utils.profiler.stop_profiler(", "stop_profiler("),
        ],
        names={"start_profiler": hooks.start_profiler, "stop_profiler": hooks.stop_profiler},
    ),
    Patch(
        name="runs without a step",
        defect="train() loops forever with fewer images than a batch, and raises UnboundLocalError with no iterations "
        "left",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[("len(batch_sampler)\n", "count_batches(batch_sampler, start_iter, iters)\n")],
        names={"count_batches": hooks.count_batches},
    ),
    Patch(
        name="bad data in train",
        defect="an unreadable file makes train() hang, or with workers fail with 'Blocking queue is killed'; a label "
        "out of range fails inside the loss, or on a GPU goes unnoticed",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[("paddle.io.DataLoader(", "CheckedLoader(")],
        names={"CheckedLoader": CheckedLoader},
    ),
    Patch(
        name="bad data in evaluate",
        defect="an unreadable file makes evaluate() hang or fail like train(); a label out of range gives a wrong mIoU",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.core.val:evaluate",
        changes=[("paddle.io.DataLoader(", "CheckedLoader(")],
        names={"CheckedLoader": CheckedLoader},
    ),
    *DATA_PATCHES,
    *EVALUATION_PATCHES,
    Patch(
        name="counting, quietly",
        defect="train() ends with a line for each kind of layer, among them those that paddle.flops does not know",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[("paddle.flops(", "count_flops(")],
        names={"count_flops": hooks.count_flops},
        seen="2026-11-27",
    ),
    Patch(
        name="compiled training",
        defect="--to_static_training expects Paddle to compile the full graph; Paddle now compiles piece by piece by "
        "default, which fails for a model that checks where a tensor is placed",
        paddleseg="all, including develop",
        paddle=(2, 6),
        where=_TRAIN,
        changes=[("paddle.jit.to_static(model)", "paddle.jit.to_static(model, full_graph=True)")],
    ),
    Patch(
        name="complete checkpoints",
        defect="train() writes checkpoints in place: a killed run or a full disk leaves a broken one",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[
            (
                "if not os.path.isdir(current_save_dir):\n                    os.makedirs(current_save_dir)",
                "current_save_dir = begin_checkpoint(current_save_dir)",
            ),
            ("paddle.save(", "save_atomically("),
            (
                "save_models.append(current_save_dir)",
                "current_save_dir = publish_checkpoint(current_save_dir); save_models.append(current_save_dir)",
            ),
            ("shutil.rmtree(model_to_remove)", "shutil.rmtree(model_to_remove, ignore_errors=True)"),
        ],
        names={
            "begin_checkpoint": checkpoints.begin,
            "save_atomically": checkpoints.save,
            "publish_checkpoint": checkpoints.publish,
        },
    ),
    Patch(
        name="pretrained weights, not executed",
        defect="load_pretrained_model() unpickles the file, which can run any program",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.utils:load_pretrained_model",
        changes=[("paddle.load(", "load_tensors(")],
        names={"load_tensors": paddle_files.load_state},
        seen="2026-11-27",
    ),
    Patch(
        name="pretrained weights, strictly",
        defect="load_pretrained_model() leaves out whatever does not fit a network, with a warning for each parameter",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.utils:load_pretrained_model",
        changes=[
            (
                "        logger.info('Loading pretrained model from {}'.format(pretrained_model))\n",
                "        logger.info('Loading pretrained model from {}'.format(pretrained_model))\n"
                "        if load_network(model, pretrained_model, download_pretrained_model): return\n",
            )
        ],
        names={"load_network": pretrained.load_network},
        seen="2026-11-27",
    ),
    Patch(
        name="checkpoints, not executed",
        defect="resume() unpickles the files, which can run any program, and loads other networks' with a warning",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.utils:resume",
        changes=[
            ("para_state_dict = paddle.load(", "para_state_dict = load_tensors("),
            ("opti_state_dict = paddle.load(", "opti_state_dict = load_dict("),
            (
                "model.set_state_dict(para_state_dict)\n            optimizer.set_state_dict(opti_state_dict)\n",
                "restore(model, optimizer, para_state_dict, opti_state_dict)\n\n",
            ),
        ],
        names={
            "load_tensors": paddle_files.load_state,
            "load_dict": paddle_files.load_dict,
            "restore": checkpoints.restore,
        },
        seen="2026-11-27",
    ),
    *(
        Patch(
            name=f"position embedding of {network}, not executed",
            defect="init_weight() unpickles the pretrained weights a second time, for one parameter",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"paddleseg.models.backbones.{module}:{network}.init_weight",
            changes=[("paddle.load(", "load_tensors(")],
            names={"load_tensors": paddle_files.load_state},
            seen="2026-11-27",
        )
        for module, network in (("vision_transformer", "VisionTransformer"), ("cae", "CAE"))
    ),
    Patch(
        name="exported weights, not executed",
        defect="export() unpickles the weights",
        paddleseg="develop",
        paddle=(2, 0),
        where="paddleseg.core.export:export",
        changes=[("paddle.load(", "load_tensors(")],
        names={"load_tensors": paddle_files.load_state},
        seen="2026-11-27",
    ),
    *(
        Patch(
            name=f"norm_layer of {module}.{block}, not executed",
            defect="norm_layer, a text of the config, is evaluated as code",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"paddleseg.models.backbones.{module}:{block}.__init__",
            changes=[("eval(norm_layer)", "layer_class(norm_layer)")],
            names={"layer_class": hooks.layer_class},
            seen="2026-11-27",
        )
        for module, block in (
            ("vision_transformer", "Block"),
            ("vision_transformer", "VisionTransformer"),
            ("cae", "Block"),
        )
    ),
    *(
        Patch(
            name=f"{network} without pretrained weights",
            defect="with pretrained: null, loading asks whether the file None exists: TypeError",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"paddleseg.models.backbones.{module}:{network}.init_weight",
            changes=[
                (
                    "model_path = self.pretrained\n",
                    "model_path = self.pretrained\n        if model_path is None: return\n",
                )
            ],
            seen="2026-11-27",
        )
        for module, network in (("vision_transformer", "VisionTransformer"), ("cae", "CAE"))
    ),
    *(
        Patch(
            name=f"{network} types",
            defect="flow_warp divides the flow by an integer size: TypeError",
            paddleseg="2.8.0 and older",
            paddle=(3, 0),
            where=f"paddleseg.models.{module}.flow_warp",
            changes=[("/ norm\n", "/ norm.astype(flow.dtype)\n")],
            seen="2026-11-27",
        )
        for network, module in (
            ("SFNet", "sfnet:AlignedModule"),
            ("DecoupledSegNet", "decoupled_segnet:SqueezeBodyEdge"),
        )
    ),
    *(
        Patch(
            name=f"batch norms of {function} on a CPU",
            defect="nn.SyncBatchNorm has no kernel on a CPU: RuntimeError; PaddleSeg's SyncBatchNorm knows",
            paddleseg="all, including develop",
            paddle=(2, 0),
            where=f"paddleseg.models.{module}:{function}",
            changes=[("nn.SyncBatchNorm(", "sync_batch_norm(")],
            names={"sync_batch_norm": hooks.sync_batch_norm},
            seen="2026-11-27",
        )
        for module, function in (
            ("backbones.vit_adapter", "ViTAdapter.__init__"),
            ("layers.vit_adapter_layers", "SpatialPriorModule.__init__"),
            ("upernet_cae", "UPerNetCAE._init_fpn"),
            *(("backbones.pidnet", f"{part}.__init__") for part in ("DAPPM", "PAPPM", "Bag")),
            ("pidnet", "BasePIDHead.__init__"),
        )
    ),
    Patch(
        name="MSDeformAttn types",
        defect="ViT-Adapter's deformable attention divides offsets by integer sizes: TypeError",
        paddleseg="2.8.0 and older",
        paddle=(3, 0),
        where="paddleseg.models.layers.ms_deformable_attention:MSDeformAttn.forward",
        changes=[
            (
                "-1)\n            sampling_locations",
                "-1).astype(sampling_offsets.dtype)\n            sampling_locations",
            )
        ],
        seen="2026-11-27",
    ),
    Patch(
        name="missing operator of MSDeformAttn",
        defect="without its compiled operator ms_deform_attn, ViT-Adapter prints a line and exits with status 0",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.models.layers.ms_deformable_attention:MSDeformAttn.forward",
        changes=[("print(\n", "raise InputError(\n")],
        names={"InputError": InputError},
        seen="2026-11-27",
    ),
    Patch(
        name="archives stay in their folder",
        defect="a downloaded tar is extracted to wherever its names and links lead",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where="paddleseg.utils.download:_uncompress_file_tar",
        changes=[("files.extract(", "extract_inside(files, ")],
        names={"extract_inside": hooks.extract_inside},
        seen="2026-11-27",
    ),
    Patch(
        name="best score, saved",
        defect="train() does not save the score of best_model, so a resumed run cannot compare with it",
        paddleseg="2.9.0 and older",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[
            (
                "os.path.join(best_model_dir, 'model.pdparams'))\n                    logger",
                "os.path.join(best_model_dir, 'model.pdparams')); save_score(best_model_dir, mean_iou, iter)\n"
                "                    logger",
            ),
            (
                "'ema_model.pdparams'))\n                        logger",
                "'ema_model.pdparams')); save_score(best_ema_model_dir, ema_mean_iou, iter)\n"
                "                        logger",
            ),
        ],
        names={"save_score": checkpoints.save_score},
    ),
    Patch(
        name="best score, resumed",
        defect="a resumed train() forgets the best score: its first evaluation always replaces best_model",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[
            (
                "best_ema_mean_iou = -1.0\n",
                "best_ema_mean_iou, best_ema_model_iter = best_score(save_dir, 'ema_best_model', resume_model)\n",
            ),
            (
                "best_model_iter = -1\n",
                "best_mean_iou, best_model_iter = best_score(save_dir, 'best_model', resume_model)\n",
            ),
        ],
        names={"best_score": checkpoints.best_score},
    ),
    Patch(
        name="EMA, resumed",
        defect="a resumed train() discards the averaged parameters and restarts the average from the model's",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[("init_ema_params(ema_model, model)", "resume_ema(ema_model, model, resume_model)")],
        names={"resume_ema": checkpoints.resume_ema},
    ),
    Patch(
        name="pruning, resumed",
        defect="a resumed train() forgets the earlier checkpoints, so keep_checkpoint_max never removes them",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[("save_models = deque()", "save_models = deque(earlier_checkpoints(save_dir, resume_model))")],
        names={"earlier_checkpoints": checkpoints.earlier},
    ),
    Patch(
        name="samples and random numbers, resumed",
        defect="a resumed train() restarts its pass through the data and repeats the random numbers of the first start",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[
            ("paddle.io.DistributedBatchSampler(", "ResumableSampler(start_iter, "),
            ("            iter += 1\n", "            iter += 1; batch_sampler.seed_layers(iter)\n"),
        ],
        names={"ResumableSampler": ResumableSampler},
    ),
    Patch(
        name="same BatchNorm statistics in evaluation",
        defect="on the CPU the processes have different BatchNorm statistics: the mIoU matches no checkpoint",
        paddleseg="all, including develop",
        paddle=(2, 0),
        where=_TRAIN,
        changes=[("= evaluate(", "= evaluate_in_sync(")],
        names={"evaluate_in_sync": hooks.evaluate_in_sync},
    ),
    Patch(
        name="several processes with protobuf 7",
        defect="Paddle 2.6 reads a field label that protobuf 7 has removed: AttributeError before the first step",
        paddleseg="any; the defect is Paddle's, fixed in 3.3",
        paddle=(2, 0),
        where="paddle.distributed.fleet.base.distributed_strategy:get_msg_dict",
        changes=[("f.label == google.protobuf.descriptor.FieldDescriptor.LABEL_REPEATED", "is_repeated(f)")],
        names={"is_repeated": hooks.is_repeated},
    ),
    Patch(
        name="deploy.yaml, written",
        defect="export() names model.pdmodel where Paddle 3 writes model.json",
        paddleseg="develop",
        paddle=(3, 0),
        where="paddleseg.core.export:export",
        changes=[
            (
                "'model': save_name + '.pdmodel'",
                "'model': os.path.basename(program_file(inference_model_path + '.pdmodel'))",
            )
        ],
        names={"program_file": hooks.program_file},
    ),
    Patch(
        name="deploy.yaml, read",
        defect="DeployConfig looks for the model.pdmodel that deploy.yaml names where Paddle 3 wrote model.json",
        paddleseg="all, including develop",
        paddle=(3, 0),
        where="paddleseg.deploy.infer:DeployConfig.model",
        changes=[("os.path.join(self._dir, ", "program_file(self._dir, ")],
        names={"program_file": hooks.program_file},
    ),
)


def apply() -> List[str]:
    """Apply the patches that the installed PaddleSeg and Paddle need; return the names of those applied now."""
    return [patch.name for patch in PATCHES if patch.apply()]
