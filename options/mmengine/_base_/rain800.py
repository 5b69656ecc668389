"""Rain800: 700 training pairs, 100 test pairs; one file a pair, clean half on the left."""

train_dataloader = dict(
    batch_size=8,
    num_workers=4,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type="SampleNumberSampler"),
    dataset=dict(
        type="PairedExemplarDataset",
        root="datasets/rain800/train",
        left="clean",
        crop_size=64,
        flip=True,
        rotate=False,
        exemplar="random",
        seed=0,
    ),
)
# Whole pictures of different sizes: one at a time.
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="PairedExemplarDataset", root="datasets/rain800/test", left="clean", exemplar="random", seed=0),
)
test_dataloader = val_dataloader

val_evaluator = [
    dict(type="PSNR"),
    dict(type="SSIM"),
    dict(type="PSNR", convert_to="Y", prefix="Y"),
    dict(type="SSIM", convert_to="Y", prefix="Y"),
]
test_evaluator = val_evaluator
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
