from __future__ import annotations

import pytest
import torch
from torch import nn

from lotus_core.inference.latent_codec import Codec
from lotus_core.inference.strips import autoencoder_layers
from lotus_core.inference.strips.layers import Attention, Convolution, Doubling, Halving, Residual

from .conftest import KINDS, codec_of


def leaves(layers):
    """Every module that a row of layers mentions, by identity."""
    for layer in layers:
        if isinstance(layer, Residual):
            yield from leaves([layer.first, layer.second])
            if layer.shortcut is not None:
                yield id(layer.shortcut)
        elif isinstance(layer, Convolution):
            yield id(layer.conv)
            if layer.norm is not None:
                yield id(layer.norm)
        elif isinstance(layer, Halving):
            yield id(layer.conv)
        elif isinstance(layer, Attention):
            yield from map(id, (layer.norm, *layer.projections, layer.out))


def test_every_weight_of_the_codec_is_in_a_layer(codec):
    layers = autoencoder_layers(codec)
    named = set(leaves(layers.encoder)) | set(leaves(layers.decoder))
    ups = sum(isinstance(layer, Doubling) for layer in layers.decoder)
    with_weights = {id(m) for m in codec.modules() if next(m.parameters(recurse=False), None) is not None}
    assert named < with_weights
    assert len(with_weights - named) == ups == 3  # the convolutions inside the three doublings


@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_of_layers_follow_the_network(kind, random_vae):
    layers = autoencoder_layers(codec_of(kind, random_vae))
    encoder = [type(layer) for layer in layers.encoder]
    quantised = [] if kind == "folded" else [Convolution]
    middle = [Residual, Attention, Residual]
    down = [Residual, Residual, Halving] * 3 + [Residual, Residual]
    up = [Residual, Residual, Residual, Doubling] * 3 + [Residual, Residual, Residual]
    assert encoder == [Convolution, *down, *middle, Convolution, *quantised]
    assert [type(layer) for layer in layers.decoder] == [*quantised, Convolution, *middle, *up, Convolution]


def test_latents_are_the_scaled_mode(trained_vae):
    layers = autoencoder_layers(codec_of("plain", trained_vae))
    moments = torch.arange(8.0).view(1, 8, 1, 1)
    scale = trained_vae.config["scaling_factor"]
    torch.testing.assert_close(layers.finish(moments), torch.arange(4.0).view(1, 4, 1, 1) * scale)
    torch.testing.assert_close(layers.prepare(layers.finish(moments)), moments[:, :4])


def test_folded_biases_travel_on_a_channel_of_ones(trained_vae):
    prepared = autoencoder_layers(codec_of("folded", trained_vae)).prepare(torch.full((1, 4, 2, 2), 3.0))
    assert prepared.shape == (1, 5, 2, 2)
    assert (prepared[:, 4] == 1).all()
    assert (prepared[:, :4] == 3).all()


def test_a_codec_of_another_kind_has_no_layers():
    class Other(Codec):
        def __init__(self):
            nn.Module.__init__(self)

    assert autoencoder_layers(Other()) is None
