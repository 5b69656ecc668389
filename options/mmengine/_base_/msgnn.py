"""The paper's network, loss and optimiser. The keywords of `model` are those of MMagic's `BaseEditModel`."""

model = dict(
    type="MSGNNModel",
    generator=dict(
        type="MSGNNArch",
        num_feat=32,
        num_blocks=12,
        num_groups=4,
        scales=(1, 2, 4),
        use_exemplar=True,
        channel_attention="gct",
        fusion_connection=True,
        graph=True,
        patch_size=3,
        stride=3,
        num_neighbors=5,
        window_size=30,
        variant="paper",
    ),
    pixel_loss=dict(type="NegSSIMLoss", loss_weight=1.0),
    data_preprocessor=dict(type="DataPreprocessor", mean=[0.0, 0.0, 0.0], std=[255.0, 255.0, 255.0]),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="Adam", lr=5e-4, betas=(0.9, 0.999)))
