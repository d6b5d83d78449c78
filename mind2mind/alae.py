"""The ALAE autoencoder: pictures to codes, codes to pictures.

ALAE (arXiv 2004.04467). Pictures are (B, image_channels, H, W) in [-1, 1]; w is (B, latent_size); styles
are (B, 2L, latent_size), the code of each of the decoder's inputs.
"""

import torch
from torch import Tensor, nn

from mind2mind.config import Architecture
from mind2mind.layers import Noise, no_noise
from mind2mind.networks import Decoder, Encoder, MappingD, MappingF


class ALAE(nn.Module):
    """Encoder E, decoder G, mapping F and head D with the mean code `w_avg` (2L, latent_size)."""

    w_avg: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = self.architecture = architecture
        sizes = (a.layer_count, a.start_channels, a.max_channels, a.latent_size, a.image_channels)
        self.encoder = Encoder(*sizes)
        self.decoder = Decoder(*sizes)
        self.mapping_f = MappingF(a.latent_size, a.mapping_layers)
        self.mapping_d = MappingD(a.latent_size)
        self.register_buffer("w_avg", torch.zeros(a.style_count, a.latent_size))

    def encode(self, x: Tensor, lod: int | None = None, blend: float = 1.0) -> Tensor:
        """E: pictures of side 4 * 2**lod (full size when None) -> w (B, latent_size)."""
        w: Tensor = self.encoder(x, lod, blend)
        return w

    def realness(self, w: Tensor) -> Tensor:
        """D: w (B, latent_size) -> (B,); higher is more real."""
        d: Tensor = self.mapping_d(w)
        return d

    def map(self, z: Tensor) -> Tensor:
        """F: z (B, latent_size), standard normal -> w (B, latent_size) of the source."""
        w: Tensor = self.mapping_f(z)
        return w

    def styles(self, w: Tensor) -> Tensor:
        """w (B, latent_size) -> the same code for each style input, (B, 2L, latent_size)."""
        return w[:, None].expand(-1, self.architecture.style_count, -1)

    def truncate(self, styles: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
        """Pulls the first `cutoff` styles towards w_avg: psi 1 changes nothing, psi 0 is the mean picture.

        `cutoff` None means all 2L of them.
        """
        return truncate(styles, self.w_avg, psi, cutoff)

    def decode(
        self, styles: Tensor, lod: int | None = None, blend: float = 1.0, noise: Noise = no_noise
    ) -> Tensor:
        """G: styles (B, 2L, latent_size) -> pictures of side 4 * 2**lod, nominally in [-1, 1], not clamped."""
        x: Tensor = self.decoder(styles, lod, blend, noise)
        return x

    def reconstruct(self, x: Tensor) -> Tensor:
        """G(E(x)) at full size without noise."""
        return self.decode(self.styles(self.encode(x)))

    def refine(self, w: Tensor, times: int = 1, within: Tensor | None = None) -> Tensor:
        """E(G(w)), `times` over: pulls w (B, latent_size) towards codes of pictures that the model knows.

        A code between two pictures' codes is drawn as a mixture, and encoded as what that is most like.
        Of each change only what `within` (latent_size, latent_size) keeps of it is taken over; None keeps all.
        """
        for _ in range(times):
            again = self.encode(self.decode(self.styles(w)).clamp(-1, 1))
            w = again if within is None else w + (again - w) @ within
        return w


def truncate(styles: Tensor, w_avg: Tensor, psi: float, cutoff: int | None = None) -> Tensor:
    """styles (B, 2L, latent_size) pulled towards w_avg (2L, latent_size) by 1 - psi, in the first `cutoff`."""
    cutoff = styles.shape[1] if cutoff is None else cutoff
    coefficient = torch.ones(styles.shape[1], 1, device=styles.device, dtype=styles.dtype)
    coefficient[:cutoff] = psi
    return w_avg + coefficient * (styles - w_avg)


def mix(first: Tensor, second: Tensor, crossover: int) -> Tensor:
    """Style mixing: styles from `crossover` on come from `second`; both (B, 2L, latent_size)."""
    return torch.cat([first[:, :crossover], second[:, crossover:]], dim=1)
