"""What every training by mmengine's Runner shares: our names, the loop, exact resuming, checkpoints and logs."""

custom_imports = dict(imports=["msgnn_plugin.adapters.mmengine"], allow_failed_imports=False)
default_scope = "mmengine"
randomness = dict(seed=0)

custom_hooks = [dict(type="ExactResumeHook")]
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=100, log_metric_by_epoch=False),
    checkpoint=dict(
        type="CheckpointHook", by_epoch=False, interval=5000, max_keep_ckpts=3, save_best="PSNR", rule="greater"
    ),
)
log_processor = dict(by_epoch=False)
env_cfg = dict(mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0), dist_cfg=dict(backend="nccl"))
