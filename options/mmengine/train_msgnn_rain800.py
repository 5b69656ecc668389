"""MSGNN on Rain800 by mmengine's Runner: the paper's setting, one GPU. The same as options/train_msgnn_rain800.yml."""

_base_ = ["_base_/runtime.py", "_base_/msgnn.py", "_base_/rain800.py"]

work_dir = "experiments/mmengine/train_msgnn_rain800"

# 500 epochs of 700 / 8 = 87.5 iterations are 43,750; x0.1 after 3/5 (26,250) and 4/5 (35,000).
train_cfg = dict(type="IterBasedTrainLoop", max_iters=43750, val_interval=5000)
# The `end` is written out because mmengine's default, the iterations of the run that began, outlives resuming.
param_scheduler = dict(type="MultiStepLR", by_epoch=False, milestones=[26250, 35000], gamma=0.1, end=43750)
