"""The sizes of ruyi-nano: the configuration files of its checkpoint."""

VAE = {
    "_class_name": "AutoencoderKLMagvit",
    "act_fn": "silu",
    "block_out_channels": [16, 32, 64, 128],
    "cache_compression_vae": True,
    "ch": 16,
    "ch_mult": [1, 2, 4, 8],
    "down_block_types": ["SpatialDownBlock3D"] + ["SpatialTemporalDownBlock3D"] * 3,
    "in_channels": 3,
    "latent_channels": 16,
    "layers_per_block": 1,
    "mid_block_use_attention": False,
    "mini_batch_decoder": 2,
    "mini_batch_encoder": 8,
    "norm_num_groups": 4,
    "out_channels": 3,
    "spatial_group_norm": False,
    "up_block_types": ["SpatialUpBlock3D"] + ["SpatialTemporalUpBlock3D"] * 3,
}

TRANSFORMER = {
    "_class_name": "HunyuanTransformer3DModel",
    "activation_fn": "gelu-approximate",
    "after_norm": False,
    "attention_head_dim": 32,
    "basic_block_type": "basic",
    "cross_attention_dim": 64,
    "cross_attention_dim_t5": 64,
    "hidden_size": 256,
    "in_channels": 48,
    "learn_sigma": True,
    "mlp_ratio": 3.0,
    "n_query": 16,
    "norm_type": "layer_norm",
    "num_attention_heads": 8,
    "num_layers": 6,
    "out_channels": 32,
    "patch_size": 2,
    "pooled_projection_dim": 64,
    "projection_dim": 64,
    "sample_size": 128,
    "text_len": 4,
    "text_len_t5": 4,
    "time_position_encoding": True,
}

IMAGE_ENCODER = {
    "architectures": ["CLIPVisionModelWithProjection"],
    "hidden_act": "quick_gelu",
    "hidden_size": 64,
    "image_size": 112,
    "intermediate_size": 256,
    "layer_norm_eps": 1e-05,
    "model_type": "clip_vision_model",
    "num_attention_heads": 4,
    "num_channels": 3,
    "num_hidden_layers": 2,
    "patch_size": 14,
    "projection_dim": 64,
    "torch_dtype": "bfloat16",
}

PREPROCESSOR = {
    "crop_size": IMAGE_ENCODER["image_size"],
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": IMAGE_ENCODER["image_size"],
}

SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "beta_end": 0.03,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "thresholding": False,
    "timestep_spacing": "leading",
}

MODEL_INDEX = {
    "_class_name": "RuyiInpaintPipeline",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
}

DEFAULTS = {"base_resolution": 480, "frames": 24, "steps": 6, "guidance": 1, "lacks": ["end_image"]}

LOG_VARIANCE = -12.0  # of the VAE's posterior
HEIGHT, WIDTH, FRAMES = 352, 640, 24  # of the clips that the model is made for
