"""Which of the exact rewritings of the network are applied."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Folds:
    """Switches of the folds; every one leaves the result unchanged up to rounding.

    Attributes:
        time: The embeddings of t = 999 and of the task become part of every ResNet's first bias.
        prompt: Cross-attention to the constant prompt becomes two thin matrices per block.
        attention: The three projections of self-attention become one.
        upsample: Nearest-neighbour 2x and the 3x3 convolution after it become one operation on the small map.
        codec: Quantisation convolutions and the scaling factor join their neighbours; the log-variance half
            of the encoder's output is not computed.
        channels_last: Weights and activations lie with their channels innermost.
        filtering: 3x3 convolutions in fp32 on the CPU use minimal filtering (Winograd), normalisation,
            activation, bias and residual included, block by block in the cache.
    """

    time: bool = True
    prompt: bool = True
    attention: bool = True
    upsample: bool = True
    codec: bool = True
    channels_last: bool = True
    filtering: bool = True

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all folds."""
        return tuple(f.name for f in fields(cls))

    @classmethod
    def none(cls) -> Folds:
        """Return the switches with every fold off."""
        return cls(**dict.fromkeys(cls.names(), False))

    @classmethod
    def only(cls, *names: str) -> Folds:
        """Return the switches with only the named folds on.

        Raises:
            TypeError: A name that is no fold.
        """
        return cls(**{**dict.fromkeys(cls.names(), False), **dict.fromkeys(names, True)})
