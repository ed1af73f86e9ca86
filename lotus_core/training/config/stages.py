"""The stages: rendering scenes, training a VAE, encoding latents, training a Lotus model, bundling several."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..annotation import DepthMap, Target
from .run import Accelerator, Optimizer, Run, Schedule, Settings

Size = tuple[int, int]
"""(height, width) in pixels, multiples of 8."""


class ScenesConfig(Settings):
    """Renders a set of scenes to disk.

    Attributes:
        stage: "scenes".
        first_seed: Of the first scene.
        count: Scenes.
        per_shard: Scenes in one file; the sizes take turns from file to file.
        sizes: Picture sizes; one that is listed twice comes twice as often.
        supersample: Rays along each side of a pixel, 1 to 4, taking turns from file to file like the sizes.
        processes: That render at the same time, each on one thread.
    """

    stage: Literal["scenes"]
    first_seed: int = Field(default=0, ge=0)
    count: int = Field(gt=0)
    per_shard: int = Field(default=256, gt=0)
    sizes: tuple[Size, ...] = Field(min_length=1)
    supersample: tuple[Annotated[int, Field(ge=1, le=4)], ...] = Field(default=(1,), min_length=1)
    processes: int = Field(default=1, ge=1)


class SceneData(Settings):
    """Rendered scenes as training data.

    Attributes:
        kind: "scenes".
        folder: Where the `scenes` stage wrote them.
        share: How often a batch is taken from here, relative to the other sources.
    """

    kind: Literal["scenes"]
    folder: str
    share: float = Field(default=1.0, gt=0)


class DiskData(Settings):
    """A published data set on disk.

    Attributes:
        kind: Which one.
        folder: Its root.
        split: Name of the split, such as "train".
        size: (height, width) that its pictures are brought to.
        share: How often a batch is taken from here, relative to the other sources.
    """

    kind: Literal["hypersim", "virtual-kitti"]
    folder: str
    split: str = "train"
    size: Size | None = None
    share: float = Field(default=1.0, gt=0)


class LatentData(Settings):
    """Latents that the `latents` stage wrote.

    Attributes:
        kind: "latents".
        folder: Where they are.
        share: How often a batch is taken from here, relative to the other sources.
    """

    kind: Literal["latents"]
    folder: str
    share: float = Field(default=1.0, gt=0)


Images = Annotated[SceneData | DiskData, Field(discriminator="kind")]
Data = Annotated[SceneData | DiskData | LatentData, Field(discriminator="kind")]


class VaeConfig(Settings):
    """Trains a small VAE on pictures, normals and depth maps alike.

    Attributes:
        stage: "vae".
        seed: Of everything random.
        start: Diffusers folder of a VAE to go on from; None for random weights of the sizes below.
        decoder_only: Leave the encoder as it is, so that latents that were kept stay valid.
        channels: Widths of the four resolutions.
        norm_groups: Of every group normalisation; few, or bright flat areas lose their colour.
        layers_per_block: ResNet blocks of each resolution.
        picture_share: Share of ordinary pictures in a batch.
        normal_share: Share of normal maps; the rest are depth maps.
        appearance: Strength of random exposure, colour and blur of the pictures, 0 to 1.
        crop: (height, width) in pixels of a random window that most batches are cut to, which saves time; None never
            cuts.
        crop_share: Share of the batches that are cut.
        kl_weight: Of the posterior's divergence from the standard normal distribution, per latent number.
        latent_noise: Standard deviation of the noise that the decoder has to bear, relative to the latents'.
        angle_weight: Of one minus the cosine between true and decoded normals.
        edge_weight: Of the error of the differences between neighbouring pixels.
        depth_map: How depth becomes a map.
        data: Where pictures come from.
        optimizer: See `Optimizer`; schedule, accelerator and run likewise.
    """

    stage: Literal["vae"]
    seed: int = Field(default=0, ge=0)
    start: str | None = None
    decoder_only: bool = False
    channels: tuple[int, int, int, int] | None = None
    norm_groups: int = Field(default=2, gt=0)
    layers_per_block: int = Field(default=1, gt=0)
    picture_share: float = Field(default=0.5, ge=0, le=1)
    normal_share: float = Field(default=0.3, ge=0, le=1)
    appearance: float = Field(default=0.0, ge=0, le=1)
    crop: Size | None = None
    crop_share: float = Field(default=0.75, ge=0, le=1)
    kl_weight: float = Field(default=1e-6, ge=0)
    latent_noise: float = Field(default=0.0, ge=0)
    angle_weight: float = Field(default=0.0, ge=0)
    edge_weight: float = Field(default=0.0, ge=0)
    depth_map: DepthMap = "disparity"
    data: tuple[Images, ...] = Field(min_length=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule
    accelerator: Accelerator = Accelerator()
    run: Run = Run()

    @model_validator(mode="after")
    def _one_start(self) -> VaeConfig:
        if (self.start is None) == (self.channels is None):
            raise ValueError("give either start, the folder of a VAE, or channels for random weights")
        if self.decoder_only and self.start is None:
            raise ValueError("decoder_only needs start: a random encoder would stay random")
        return self


class LatentsConfig(Settings):
    """Encodes a data set once, so that training need not.

    Attributes:
        stage: "latents".
        seed: Of the random appearance.
        vae: Diffusers folder of the VAE.
        views: Times that each picture is encoded; every second one is mirrored.
        appearance: Strength of random exposure, colour and blur, 0 to 1; the first view is left as it is.
        depth_map: How depth becomes a map.
        per_shard: Examples in one file.
        data: Where pictures come from.
        processes: That encode at the same time, each on one thread where there are several.
    """

    stage: Literal["latents"]
    seed: int = Field(default=0, ge=0)
    vae: str
    views: int = Field(default=1, ge=1)
    appearance: float = Field(default=0.0, ge=0, le=1)
    depth_map: DepthMap = "disparity"
    per_shard: int = Field(default=1024, gt=0)
    data: tuple[Images, ...] = Field(min_length=1)
    processes: int = Field(default=1, ge=1)


class Start(Settings):
    """What training starts from: a checkpoint, or sizes for random weights.

    Attributes:
        checkpoint: Diffusers folder of Stable Diffusion 2 or of a Lotus model: its UNet is taken.
        vae: Diffusers folder of the VAE; None for the checkpoint's own.
        prompt_embeds: File of the empty prompt's embedding; None for the checkpoint's own, or one drawn at random.
        channels: Widths of the resolutions, for random weights.
        attention: Which resolutions attend, for random weights.
        layers_per_block: ResNet blocks of each resolution.
        heads: Attention heads of each resolution.
        norm_groups: Of every group normalisation.
        context: Width of the prompt's embedding.
    """

    checkpoint: str | None = None
    vae: str | None = None
    prompt_embeds: str | None = None
    channels: tuple[int, ...] | None = None
    attention: tuple[bool, ...] | None = None
    layers_per_block: int = Field(default=1, gt=0)
    heads: int = Field(default=4, gt=0)
    norm_groups: int = Field(default=8, gt=0)
    context: int = Field(default=32, gt=0)

    @model_validator(mode="after")
    def _one_of_two(self) -> Start:
        if (self.checkpoint is None) == (self.channels is None):
            raise ValueError("give either checkpoint, or channels for random weights")
        if self.channels is not None and len(self.attention or ()) != len(self.channels):
            raise ValueError("attention must say true or false for each of channels")
        if self.channels is not None and self.vae is None:
            raise ValueError("random weights need vae, the folder of a trained VAE")
        return self


class Noise(Settings):
    """The diffusion around the denoiser.

    Attributes:
        prediction: What the network says: the annotation (x0), the noise (epsilon), or the velocity (v).
        steps: 1 trains at t = 999 alone; N trains at N evenly spaced times and infers with DDIM.
    """

    prediction: Literal["x0", "epsilon", "v"] = "x0"
    steps: int = Field(default=1, ge=1, le=1000)


class Switcher(Settings):
    """The detail preserver: part of each batch is to be painted back as it is.

    Attributes:
        enabled: Whether there is one; without it only annotations are learned.
        share: Part of the batch that also takes the reconstruction side; 1 doubles the batch, as published.
        later_share: The same after `later_step`.
        later_step: When reconstruction counts as learned.
    """

    enabled: bool = True
    share: float = Field(default=1.0, gt=0, le=1)
    later_share: float = Field(default=1.0, gt=0, le=1)
    later_step: int = Field(default=0, ge=0)


class LotusConfig(Settings):
    """Trains a Lotus model.

    Attributes:
        stage: "lotus".
        seed: Of everything random.
        mode: "g" or "d".
        target: "depth" or "normal".
        depth_map: How depth becomes a map.
        posterior: What stands for a picture's latents: a draw from the VAE's posterior (as published) or its mode.
        mirror: Mirror half of the pictures (latents are mirrored when they are written).
        start: Networks before training.
        noise: Prediction and number of times.
        switcher: The detail preserver.
        data: Where examples come from.
        optimizer: See `Optimizer`; schedule, accelerator and run likewise.
    """

    stage: Literal["lotus"]
    seed: int = Field(default=42, ge=0)
    mode: Literal["g", "d"]
    target: Target
    depth_map: DepthMap = "disparity"
    posterior: Literal["sample", "mode"] = "sample"
    mirror: bool = True
    start: Start
    noise: Noise = Noise()
    switcher: Switcher = Switcher()
    data: tuple[Data, ...] = Field(min_length=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule
    accelerator: Accelerator = Accelerator()
    run: Run = Run()

    @model_validator(mode="after")
    def _noise_needs_generative(self) -> LotusConfig:
        if self.mode == "d" and (self.noise.prediction != "x0" or self.noise.steps != 1):
            raise ValueError("mode d sees no noise: it predicts x0 in 1 step; choose mode g for the others")
        return self


class BundleConfig(Settings):
    """Gathers trained models that share one VAE and one context into a folder, in half precision.

    Attributes:
        stage: "bundle".
        vae: Diffusers folder of the shared VAE.
        models: Diffusers folder of each model, by the name it gets.
        max_bytes: What the whole may take on disk.
    """

    stage: Literal["bundle"]
    vae: str
    models: dict[str, str] = Field(min_length=1)
    max_bytes: int = Field(gt=0)


AnyConfig = ScenesConfig | VaeConfig | LatentsConfig | LotusConfig | BundleConfig
Config = Annotated[AnyConfig, Field(discriminator="stage")]
